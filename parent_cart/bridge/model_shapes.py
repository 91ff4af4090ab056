"""How many attached carts learn each task with a model of each shape. No I/O."""

from __future__ import annotations

from collections import Counter


class ModelShapes:
    """Counts carts by task and model signature. Carts that name no task are not counted."""

    def __init__(self) -> None:
        self._by_task: Counter[str] = Counter()
        self._by_shape: Counter[tuple[str, str]] = Counter()

    def add(self, task: str, model_signature: str) -> None:
        """Count one cart more."""
        self._change(task, model_signature, 1)

    def remove(self, task: str, model_signature: str) -> None:
        """Count one cart less."""
        self._change(task, model_signature, -1)

    def others(self, task: str, model_signature: str) -> int:
        """Return how many carts of the task have a model of another shape."""
        return self._by_task[task] - self._by_shape[task, model_signature]

    def _change(self, task: str, model_signature: str, by: int) -> None:
        if not task:
            return
        self._by_task[task] += by
        self._by_shape[task, model_signature] += by
        # Both come from outside: counts of 0 that are kept would leak memory.
        if not self._by_task[task]:
            del self._by_task[task]
        if not self._by_shape[task, model_signature]:
            del self._by_shape[task, model_signature]
