"""A fair random choice among carts that come and go, without ever walking through all of them.

The carts of one model are picked in passes: no cart is picked twice before each of them was picked once. A pass is an
incremental Fisher-Yates shuffle (Fisher and Yates 1938; Durstenfeld, CACM 1964).
"""

from __future__ import annotations

from collections.abc import Callable


class PeerPicker:
    """Pick cart ids at random; add, discard and pick each take constant time per cart."""

    def __init__(self, randrange: Callable[[int, int], int]) -> None:
        self._randrange = randrange
        self._cart_ids: list[str] = []
        self._place_of: dict[str, int] = {}
        self._picked = 0  # those before this place were picked in this pass

    def __len__(self) -> int:
        return len(self._cart_ids)

    def __contains__(self, cart_id: str) -> bool:
        return cart_id in self._place_of

    def add(self, cart_id: str) -> None:
        """Add a cart, to be picked in this pass; one that is there already changes nothing."""
        if cart_id not in self._place_of:
            self._place_of[cart_id] = len(self._cart_ids)
            self._cart_ids.append(cart_id)

    def discard(self, cart_id: str) -> None:
        """Remove a cart, whether it was picked in this pass or not; one that is not there changes nothing."""
        place = self._place_of.get(cart_id)
        if place is None:
            return
        if place < self._picked:
            # Closing the gap with the last one that was picked keeps these and the others apart.
            self._picked -= 1
            self._swap(place, self._picked)
            place = self._picked
        self._swap(place, len(self._cart_ids) - 1)
        self._cart_ids.pop()
        del self._place_of[cart_id]

    def pick(self, count: int, without: str) -> list[str]:
        """Return up to ``count`` different carts, never ``without``."""
        chosen: list[str] = []
        wanted = min(count, len(self._cart_ids) - (without in self._place_of))
        set_aside = [cart_id for cart_id in (without,) if self._mark_picked(cart_id)]
        while len(chosen) < wanted:
            if self._picked == len(self._cart_ids):
                # A new pass begins in the middle of this choice.
                self._picked = 0
                set_aside = [cart_id for cart_id in (*chosen, without) if self._mark_picked(cart_id)]
            cart_id = self._cart_ids[self._randrange(self._picked, len(self._cart_ids))]
            self._mark_picked(cart_id)
            chosen.append(cart_id)
        for cart_id in set_aside:
            # They could not be picked just now, but their turn in this pass is still to come.
            self._picked -= 1
            self._swap(self._place_of[cart_id], self._picked)
        return chosen

    def _mark_picked(self, cart_id: str) -> bool:
        """Move a cart to those that were picked; tell whether it was among the others."""
        place = self._place_of.get(cart_id)
        if place is None or place < self._picked:
            return False
        self._swap(place, self._picked)
        self._picked += 1
        return True

    def _swap(self, first: int, second: int) -> None:
        cart_ids = self._cart_ids
        cart_ids[first], cart_ids[second] = cart_ids[second], cart_ids[first]
        self._place_of[cart_ids[first]] = first
        self._place_of[cart_ids[second]] = second
