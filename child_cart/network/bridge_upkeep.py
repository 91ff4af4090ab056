"""What a cart does about its bridges while it runs: keep the list on disk, and go to a much better bridge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from cart_common.process.tasks import in_thread
from cart_common.wire.messages import Role

from .bridge_file import BridgeFile
from .bridge_selection import BridgeSelection
from .link import Link
from .link_state import LinkState

LOOK_EVERY_S: Final = 2.0


class Notes(Protocol):
    """Keeps events for the pages and the log."""

    def note(self, text: str) -> None:
        """Keep an event."""


class BridgeUpkeep:
    """Keeps a cart's list of bridges and its place among them up to date.

    Args:
        bridges: the list, which also decides which bridge is better.
        file: where the list is kept.
        link: the cart's link to its own bridge.
        is_busy: tells whether a model is on its way over the link.
        notes: gets an event when the cart has moved.
    """

    def __init__(
        self, bridges: BridgeSelection, file: BridgeFile, link: Link, is_busy: Callable[[], bool], notes: Notes
    ) -> None:
        self._bridges = bridges
        self._file = file
        self._link = link
        self._is_busy = is_busy
        self._notes = notes
        self._home = ""

    def consider(self, url: str) -> None:
        """Go to a bridge that was just measured, if it is much better and the cart is at rest."""
        is_at_rest = self._link.standing.role is Role.SHELL and not self._is_busy()
        if is_at_rest and self._bridges.is_much_better(url, self._link.status.url):
            self._link.move(url)

    async def run(self) -> None:
        """Save the list when it has changed, and note when the cart has moved, until cancelled."""
        saved = 0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._note_move()
            if saved != self._bridges.changes:
                saved = self._bridges.changes
                await in_thread(self._file.save, self._bridges.known())

    def _note_move(self) -> None:
        link = self._link.status
        if link.state is LinkState.ATTACHED and link.url != self._home:
            if self._home:
                self._notes.note(f"The cart has moved from the bridge {self._home} to {link.url}.")
            self._home = link.url
