"""An event loop whose clock is virtual: when nothing is ready, time jumps to the next timer, and nothing ever waits.

What would run in a thread runs at once in the loop, so a program takes the same steps in each run.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")


class DeadlockError(RuntimeError):
    """Everything waits for something that never comes."""


class _JumpingSelector(selectors.BaseSelector):
    """Looks at the real sockets and signals without waiting, and lets the loop's time jump instead.

    Args:
        jump: takes the seconds to the next timer; None if there is none.
    """

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        self._real = selectors.DefaultSelector()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and (timeout is None or timeout > 0):
            self._jump(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a virtual clock.

    Args:
        when_idle: is called when nothing is ready, before time jumps; returns whether it has made something ready.
        start_s: the time at the start.
    """

    def __init__(self, when_idle: Callable[[], bool], start_s: float = 0.0) -> None:
        self._now_s = start_s
        self._when_idle = when_idle
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now_s

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], Any], *args: *Ts) -> asyncio.Future[Any]:
        """Make the call at once, in this thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _jump(self, timeout_s: float | None) -> None:
        if self._when_idle():
            return
        if timeout_s is None:
            raise DeadlockError("Everything waits, and no timer is set.")
        self._now_s += timeout_s
