"""The last lines of the log, for the admin page: bounded in number and length, without credentials of URLs."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import Final

from cart_common.process.redaction import shown_text

LINES_KEPT: Final = 500
MAX_LINE_CHARS: Final = 500


@dataclass(frozen=True)
class LogLine:
    """One line; ``at`` in seconds since the epoch."""

    number: int
    at: float
    level: str
    logger: str
    text: str


class LogBuffer(logging.Handler):
    """A handler that keeps the last lines in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=LINES_KEPT)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line. Called by ``logging``, one record at a time."""
        try:
            text = shown_text(record.getMessage())
        except (TypeError, ValueError):  # the arguments do not fit the message
            text = str(record.msg)
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {shown_text(str(record.exc_info[1]))})"
        if len(text) > MAX_LINE_CHARS:
            text = text[: MAX_LINE_CHARS - 1] + "…"
        self._count += 1
        self._lines.append(LogLine(self._count, record.created, record.levelname, record.name, text))

    def lines(self, limit: int) -> list[LogLine]:
        """Return the last lines, newest first."""
        return list(reversed(self._lines.copy()))[:limit]
