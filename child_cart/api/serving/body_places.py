"""Places for large bodies, which bound the memory that uploads take: who waits for one, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary


class BodyPlaces:
    """Places for the large bodies of one lane; no client has all of them.

    Args:
        most: places in all.
        most_of_one: places of one client.
        patience_s: how long a request may wait for a place.
    """

    def __init__(self, most: int, most_of_one: int, patience_s: float) -> None:
        self._all = asyncio.Semaphore(most)
        self._most_of_one = most_of_one
        self._patience_s = patience_s
        self._of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place_of(self, client: str) -> AsyncIterator[None]:
        """Wait for a place and hold it while the ``async with`` block runs.

        Raises:
            TimeoutError: before the block runs, if no place becomes free in time.
        """
        # It lives as long as a body of the client waits or has a place.
        own = self._of.setdefault(client, asyncio.Semaphore(self._most_of_one))
        async with AsyncExitStack() as held:
            async with asyncio.timeout(self._patience_s):
                await held.enter_async_context(own)
                await held.enter_async_context(self._all)
            yield
