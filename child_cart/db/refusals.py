"""What a store has refused to write: reading may go on meanwhile, as on a full disk."""

from __future__ import annotations

import threading


class Refusals:
    """Counts writes that were refused, and keeps the sentence until a write succeeds. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._sentence = ""

    @property
    def count(self) -> int:
        """How many writes were refused since the start."""
        return self._count

    @property
    def sentence(self) -> str:
        """Why the newest write was refused; empty if it was not."""
        return self._sentence

    def note(self, sentence: str) -> None:
        """Count a write that was refused."""
        with self._lock:
            self._count += 1
            self._sentence = sentence

    def clear(self) -> None:
        """A write has succeeded."""
        with self._lock:
            self._sentence = ""
