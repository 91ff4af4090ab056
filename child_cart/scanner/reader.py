"""Asks the decoding process, and ends it when a picture takes too long: some are made to take hours."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Final

from cart_common.process.worker_process import WorkerFault, WorkerProcess, WorkerSilent

from .picture import PictureError
from .worker import REQUEST

log = logging.getLogger("cart.scanner")

PATIENCE_S: Final = 10.0
BUSY_WAIT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 1024 * 1024


class ReaderBusy(Exception):
    """The decoding process cannot take a picture now; the message is for the sender of the picture."""


class Reader:
    """One decoding process, started when it is needed. One picture at a time: that bounds memory and cores.

    Args:
        patience_s: seconds that a picture may take.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._turn = threading.Lock()
        self._process: WorkerProcess | None = None
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """The id of the process, or None while there is none."""
        process = self._process
        return process.pid if process is not None and process.is_running else None

    def texts(self, data: bytes, thorough: bool, size: tuple[int, int] = (0, 0)) -> list[str]:
        """Return the texts of the codes in a picture.

        Args:
            data: the bytes of a JPEG, PNG or WebP, or grey pixels.
            thorough: search again if nothing is found at once.
            size: width and height, of grey pixels.

        Raises:
            PictureError: if the picture cannot be read.
            ReaderBusy: if other pictures are being read.
        """
        if not self._turn.acquire(timeout=BUSY_WAIT_S):
            raise ReaderBusy("The cart is still looking at other pictures. Try again in a moment.")
        try:
            answer = self._ask(REQUEST.pack(thorough, *size, len(data)) + data)
        finally:
            self._turn.release()
        if "refused" in answer:
            raise PictureError(str(answer["refused"]))
        texts = answer["texts"]
        assert isinstance(texts, list)
        return texts

    def close(self) -> None:
        """End the process, even in the middle of a picture. Safe to call again."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._turn:
            self._end()

    def _ask(self, request: bytes) -> dict[str, object]:
        with suppress(WorkerFault):
            if self._process is not None:
                return self._asked(self._process, request)
        # There was none, or it had ended, as idle ones do. If a new one ends too, the picture ended it.
        try:
            return self._asked(self._start(), request)
        except WorkerFault:
            raise PictureError("This picture cannot be read: looking for codes in it failed.") from None

    def _asked(self, process: WorkerProcess, request: bytes) -> dict[str, object]:
        ends_at = time.monotonic() + self._patience_s
        try:
            process.send(request, ends_at)
            return process.answer(ends_at)
        except WorkerSilent:
            self._end()
            raise PictureError(
                f"Looking for codes in this picture takes longer than {self._patience_s:g} s. Send another one."
            ) from None
        except WorkerFault:
            self._end()
            raise

    def _start(self) -> WorkerProcess:
        if self._closed:
            raise ReaderBusy("The cart is stopping.")
        self._process = WorkerProcess("child_cart.scanner.worker", most_answer_bytes=MAX_ANSWER_BYTES)
        log.debug("decoding process started as %d", self._process.pid)
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()  # at once: it keeps nothing
