"""Errors of a task and of its model as sentences: the task is the user's, and may raise anything."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cart_common.process.errors import UserError
from child_cart.model.failure_words import failure_sentence
from child_cart.model.task import TaskError

from ..carts.virtual_loop import DeadlockError

HERE: Final = Path(__file__).parents[1]


@contextmanager
def told_as_sentences() -> Iterator[None]:
    """Raise ``TaskError`` for an error that comes from the task or a library; one of the laboratory stays as it is."""
    try:
        yield
    except (UserError, DeadlockError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if Path(frames[-1].filename).is_relative_to(HERE):
            raise
        raise TaskError(failure_sentence(error)) from error
