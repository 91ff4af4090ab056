"""How long the calls of one request may wait for the store, all together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_ENDS_AT: Final[ContextVar[float | None]] = ContextVar("store_deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let all waiting for the store in the block end after this time; an earlier end that is set already stays."""
    ends_at, outer = time.monotonic() + seconds, _ENDS_AT.get()
    token = _ENDS_AT.set(ends_at if outer is None else min(ends_at, outer))
    try:
        yield
    finally:
        _ENDS_AT.reset(token)


def remaining_s(otherwise: float) -> float:
    """Return how long this thread may still wait, 0 if it may not; without a deadline, what is given."""
    ends_at = _ENDS_AT.get()
    return otherwise if ends_at is None else max(ends_at - time.monotonic(), 0.0)
