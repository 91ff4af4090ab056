"""Asks the decoding process, and ends it when a picture takes it too long: some are made to take hours."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from .picture import PictureError
from .worker import ANSWER, REQUEST

log = logging.getLogger("cart.scanner")

PATIENCE_S: Final = 10.0
BUSY_WAIT_S: Final = 5.0
END_S: Final = 2.0
MAX_ANSWER_BYTES: Final = 1024 * 1024


class ReaderBusy(Exception):
    """The decoding process cannot be asked now; the message is a sentence for whoever sent a picture."""


class _Gone(Exception):
    """The decoding process has ended."""


class Reader:
    """One decoding process, started when it is needed. One picture at a time: that bounds memory and cores.

    Args:
        patience_s: seconds that a picture may take.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """The process, if one runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def texts(self, data: bytes, thorough: bool, size: tuple[int, int] = (0, 0)) -> list[str]:
        """Return the texts of the codes in a picture.

        Args:
            data: the bytes of a JPEG, PNG or WebP, or grey pixels.
            thorough: look again where nothing is found at once.
            size: width and height, of grey pixels.

        Raises:
            PictureError: if the picture cannot be read.
            ReaderBusy: if others are being read.
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
        """End the process, whatever it is at. Safe to call again."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._turn:
            self._end()

    def _ask(self, request: bytes) -> dict[str, object]:
        with suppress(_Gone):
            if self._process is not None:
                return self._asked(self._process, request)
        # There was none, or it had ended, as idle ones do. A new one that ends is the picture's doing.
        try:
            return self._asked(self._start(), request)
        except _Gone:
            raise PictureError("This picture cannot be read: looking for codes in it failed.") from None

    def _asked(self, process: subprocess.Popen[bytes], request: bytes) -> dict[str, object]:
        assert process.stdin is not None
        ends_at = time.monotonic() + self._patience_s
        try:
            process.stdin.write(request)
            process.stdin.flush()
            (count,) = ANSWER.unpack(self._read(process, ANSWER.size, ends_at))
            if count > MAX_ANSWER_BYTES:
                raise _Gone
            answer = json.loads(self._read(process, count, ends_at))
        except TimeoutError:  # before OSError, of which it is one
            self._end()
            raise PictureError(
                f"Looking for codes in this picture takes longer than {self._patience_s:g} s. Send another one."
            ) from None
        except (_Gone, OSError):
            self._end()
            raise _Gone from None
        assert isinstance(answer, dict)
        return answer

    @staticmethod
    def _read(process: subprocess.Popen[bytes], count: int, ends_at: float) -> bytes:
        assert process.stdout is not None
        data = b""
        while len(data) < count:
            if not select.select([process.stdout], [], [], max(0.0, ends_at - time.monotonic()))[0]:
                raise TimeoutError
            part = os.read(process.stdout.fileno(), count - len(data))
            if not part:
                raise _Gone
            data += part
        return data

    def _start(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise ReaderBusy("The cart is stopping.")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "child_cart.scanner.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # Ctrl-C is for the cart, which ends it itself
        )
        log.debug("decoding process started as %d", self._process.pid)
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # it keeps nothing
        process.wait(END_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
