"""Helpers for tasks that live exactly as long as a block of code."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@asynccontextmanager
async def background(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run ``work`` beside the block and end it with the block.

    A broken link ends ``work`` early and quietly (the block sees the same link break); any other error of ``work`` is
    raised at the end of the block.
    """
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        # Not ``await task``: its cancellation and one of the block itself would look the same.
        await asyncio.wait((task,))
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError):
            raise error


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run blocking work in a thread, in the present context, and wait for its end in any case.

    A cancelled caller waits, too: work that writes must not go on after its owner is gone.
    """
    # Not ``asyncio.to_thread``: it takes a task and two more turns of the loop.
    context = contextvars.copy_context()
    work: asyncio.Future[R] = asyncio.get_running_loop().run_in_executor(
        None, partial(context.run, function, *args, **kwargs)
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if not work.done():
            await asyncio.wait([work])
        if work.done() and not work.cancelled():
            work.exception()  # asyncio would report an exception that is never retrieved
        raise
