"""A worker: a process of the same Python that answers requests, and costs one request at most when it is ended.

Requests go to its standard input in whatever form it reads; each answer is one line of JSON on its standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

R = TypeVar("R")

READ_BYTES: Final = 64 * 1024


class WorkerFault(Exception):
    """A worker gives no answer that can be used. It must be ended: a late answer would pass for that of the next."""


class WorkerSilent(WorkerFault):
    """The worker has not read or answered in time."""


class WorkerAnswerTooLong(WorkerFault):
    """The worker has sent more bytes than an answer may have."""


class WorkerGone(WorkerFault):
    """The worker has ended.

    Attributes:
        status: its exit status; -n if signal n has ended it.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"by signal {-status}" if status < 0 else f"with status {status}")
        self.status = status


class WorkerProcess:
    """One worker. Starting it takes a few milliseconds; all other methods but ``kill`` and ``attended`` may block.

    One thread at a time sends and reads. ``kill`` may be called from any thread and makes a blocked call return.

    Args:
        module: is run as ``python -m module``.
        arguments: of the module.
        environment: variables that it gets beside those of this process.
        log_path: a file for its standard error; None drops that.
        most_answer_bytes: the longest line that it may answer with.

    Raises:
        OSError: if the system cannot start it or write the log.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        log_path: Path | None = None,
        most_answer_bytes: int,
    ) -> None:
        self._most_answer_bytes = most_answer_bytes
        self._unread = bytearray()
        self._pipes = threading.Lock()
        # A thread of its own: a training takes minutes, and the loop's threads serve the store and the resolver.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker")
        with open(log_path or os.devnull, "wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this Python and a module of ours
                [sys.executable, "-m", module, *arguments],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **os.environ,
                    **(environment or {}),
                    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                },
                start_new_session=True,  # Ctrl-C is for the parent, which ends its workers itself
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)  # a worker that reads nothing must not block its writer

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def send(self, request: bytes, ends_at: float) -> None:
        """Write a request.

        Args:
            request: the bytes.
            ends_at: when to give up, in seconds of ``time.monotonic``.

        Raises:
            WorkerGone: if the worker ended.
            WorkerSilent: if it has not read all of it in time.
        """
        with self._pipes:
            unsent = memoryview(request)
            try:
                while unsent:
                    _wait_for(self._stdin.fileno(), select.POLLOUT, ends_at)
                    unsent = unsent[os.write(self._stdin.fileno(), unsent) :]
            except BrokenPipeError:
                raise self._gone(ends_at) from None

    def answer(self, ends_at: float) -> dict[str, Any]:
        """Return the next answer.

        Args:
            ends_at: when to give up, in seconds of ``time.monotonic``.

        Raises:
            WorkerGone: if the worker ended.
            WorkerAnswerTooLong: if the answer is longer than allowed.
            WorkerSilent: if it is not there in time.
        """
        with self._pipes:
            return dict(json.loads(self._line(ends_at)))

    def _line(self, ends_at: float) -> bytes:
        searched, most = 0, self._most_answer_bytes
        while (end := self._unread.find(b"\n", searched)) < 0 and len(self._unread) <= most:
            searched = len(self._unread)
            _wait_for(self._stdout.fileno(), select.POLLIN, ends_at)
            part = os.read(self._stdout.fileno(), READ_BYTES)
            if not part:
                raise self._gone(ends_at)
            self._unread += part
        if not 0 <= end <= most:
            raise WorkerAnswerTooLong
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    def _gone(self, ends_at: float) -> WorkerFault:
        """Return what it means that a pipe is closed: the end of the process, or a worker that only falls silent."""
        try:
            return WorkerGone(self._process.wait(max(0.0, ends_at - time.monotonic())))
        except subprocess.TimeoutExpired:
            return WorkerSilent()

    def kill(self) -> None:
        """End the process at once, with what it has started. Safe to call again."""
        # A child of the worker holds its output open: without its end, a thread that reads from it would wait on.
        if self.is_running:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self, grace_s: float = 0.0) -> None:
        """End the process and let its pipes go. Safe to call again.

        Args:
            grace_s: how long it may take to end by itself, as it does when its input ends.
        """
        if grace_s:
            with self._pipes:
                self._stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        self.kill()
        self._process.wait()
        with self._pipes:
            self._stdin.close()
            self._stdout.close()
        self._thread.shutdown(wait=False)

    async def attended(self, work: Callable[[], R]) -> R:
        """Run blocking work with this worker in a thread; kill the worker if the caller is cancelled meanwhile."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.kill()
            await asyncio.wait([running])
            running.exception()  # unasked for, it would be reported as forgotten
            raise


def _wait_for(descriptor: int, event: int, ends_at: float) -> None:
    # Not select, which takes no descriptor above 1023.
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, ends_at - time.monotonic()) * 1000):
        raise WorkerSilent
