"""How a bridge that stops parts from its carts: idle ones go to other bridges, transfers get time to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final

from .cart_connection import CartConnection

log = logging.getLogger("bridge.relay")
# As many carts go elsewhere in a second as their new bridges can take.
SENT_AWAY_AT_ONCE: Final = 200
SEND_AWAY_EVERY_S: Final = 0.1


class Departure:
    """Sends carts away as their transfers end.

    Args:
        connections: those of the carts that are attached, by cart; looked at again and again.
        is_busy: tells whether a cart has a transfer under way.
        send_away: tells a cart where to go and closes its connection.
    """

    def __init__(
        self,
        connections: Mapping[str, CartConnection],
        is_busy: Callable[[str], bool],
        send_away: Callable[[CartConnection], None],
    ) -> None:
        self._connections = connections
        self._is_busy = is_busy
        self._send_away = send_away

    async def run(self, knows_others: bool, most_s: float, hurried: asyncio.Event) -> None:
        """Send carts away until none is left; without another bridge, wait for the transfers alone.

        Args:
            knows_others: whether there is another bridge to go to.
            most_s: seconds after which it ends, whatever is still under way.
            hurried: ends it when it is set.
        """
        if knows_others:
            log.info("sending %d carts to other bridges", len(self._connections))
            step = self._send_some_away
        else:
            busy = sum(map(self._is_busy, self._connections))
            if busy:
                log.info("waiting for the transfers of %d carts, for %g s at most", busy, most_s)
            step = self._is_any_busy
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while step() and not hurried.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(SEND_AWAY_EVERY_S):
                            await hurried.wait()

    def _send_some_away(self) -> bool:
        """Send some idle carts away; tell whether there are more carts."""
        idle = (connection for cart_id, connection in self._connections.items() if not self._is_busy(cart_id))
        for connection in list(islice(idle, SENT_AWAY_AT_ONCE)):
            self._send_away(connection)
        return bool(self._connections)

    def _is_any_busy(self) -> bool:
        return any(map(self._is_busy, self._connections))
