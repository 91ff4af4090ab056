"""Tells carts about other bridges, and looks carts up in the directory for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from cart_common.wire.messages import Code, ErrorMessage, Found, Message, Seek, Whereabouts
from cart_common.wire.records import claimed_time

from ..bridge.hub import Hub
from ..bridge.neighbourhood import Neighbourhood

SEEK_S: Final = 5.0
SEEKING_MOST: Final = 100
SEEKING_OF_ONE: Final = 20  # account
# Lists of bridges are long: ten thousand at once would delay everything else.
TOLD_AT_ONCE: Final = 200


class NeighbourService:
    """Answers carts from the neighbourhood.

    Args:
        neighbourhood: knows other bridges, and which cart is where.
        hub: decides how often a cart may ask, and counts.
        say: sends a message to a cart if it is still attached.
    """

    def __init__(self, neighbourhood: Neighbourhood, hub: Hub, say: Callable[[str, Message], None]) -> None:
        self._neighbourhood = neighbourhood
        self._hub = hub
        self._say = say
        self._untold: list[str] = []
        self._seeking: dict[asyncio.Task[None], str] = {}  # with the account that it is for

    def knows_others(self) -> bool:
        """Tell whether there is another bridge to go to."""
        return bool(self._neighbourhood.neighbours())

    def tell(self, cart_id: str) -> None:
        """Name other bridges to a cart, if there are any."""
        message = self._neighbourhood.list_for_cart()
        if message.bridges:
            self._say(cart_id, message)

    def forget(self, cart_id: str) -> None:
        """Stop publishing that a cart is here."""
        self._neighbourhood.forget(cart_id)
        self._hub.clocks.forget(cart_id)

    def take(self, cart_id: str, message: Whereabouts | Seek) -> None:
        """Take a cart's record or look for another cart, as often as the cart may ask."""
        account = self._hub.accounts[cart_id]
        may_ask = self._hub.may_ask(cart_id) and (isinstance(message, Whereabouts) or self._may_seek(account))
        if not may_ask:
            self._hub.counters["requests_refused"] += 1
        if isinstance(message, Seek) and may_ask:
            task = asyncio.create_task(self._seek(cart_id, message), name="seek a cart")
            self._seeking[task] = account
            task.add_done_callback(self._seeking.pop)
        elif isinstance(message, Seek):
            self._say_not_found(cart_id, message)
        elif may_ask:
            issued_at_s = claimed_time(message.record.encode("utf-8", "replace"))
            if issued_at_s is not None:  # carts send a record as soon as they have made it
                self._hub.clocks.note(cart_id, issued_at_s)
            refusal = self._neighbourhood.take_record(cart_id, message.record)
            if refusal is not None:
                self._hub.counters[f"record_refused_{refusal.lower()}"] += 1

    def _may_seek(self, account: str) -> bool:
        of_one = sum(seeking == account for seeking in self._seeking.values())
        return len(self._seeking) < SEEKING_MOST and of_one < SEEKING_OF_ONE

    def sweep(self, attached: Collection[str]) -> None:
        """Tell some more carts that bridges have come or gone; called regularly."""
        if self._neighbourhood.has_changed():
            self._untold = list(attached)
        for cart_id in self._untold[:TOLD_AT_ONCE]:
            self.tell(cart_id)
        del self._untold[:TOLD_AT_ONCE]

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._seeking):
            task.cancel()
        if self._seeking:
            await asyncio.wait(self._seeking)

    async def _seek(self, cart_id: str, message: Seek) -> None:
        record = None
        with suppress(TimeoutError):
            async with asyncio.timeout(SEEK_S):
                record = await self._neighbourhood.find(message.cart)
        if record is not None:
            self._say(cart_id, Found(message.request, record))
        else:
            self._say_not_found(cart_id, message)

    def _say_not_found(self, cart_id: str, message: Seek) -> None:
        self._say(cart_id, ErrorMessage(Code.NOT_FOUND, "No bridge knows where that cart is.", message.request))
