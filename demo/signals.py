"""What signals do to a run: the first ends the learning, the next ones what follows it, and none the cleanup."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Sequence
from types import FrameType


class Signals:
    """The signals that have come, and the work that the next one ends.

    The first signal ends the work; it never interrupts its cleanup.
    """

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []
        self._work: asyncio.Task[None] | None = None

    def listen(self, numbers: Sequence[signal.Signals]) -> None:
        """Take these signals from now on. After the end of the running loop they are ignored."""
        loop = asyncio.get_running_loop()

        def handle(number: int, frame: FrameType | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.take, signal.Signals(number))

        # Not the loop's own handlers: they end with the loop, and the folder is removed after it.
        for number in numbers:
            signal.signal(number, handle)

    def take(self, number: signal.Signals) -> None:
        """Record a signal, and end the present work."""
        self.received.append(number)
        if self._work is not None:
            self._work.cancel()
            self._work = None

    async def run(self, work: Coroutine[None, None, None]) -> bool:
        """Do some work; return False if a signal has ended it."""
        task = self._work = asyncio.ensure_future(work)
        try:
            await task
        except asyncio.CancelledError:
            if self._work is task:
                raise
            return False
        finally:
            self._work = None
        return True

    @property
    def allow_summary(self) -> bool:
        """Whether the models are still to be compared: after one Ctrl-C, but not after another signal."""
        return self.received in ([], [signal.SIGINT])
