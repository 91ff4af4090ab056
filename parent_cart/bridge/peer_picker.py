"""A fair random choice among carts that come and go, without ever walking through all of them.

The carts of one model lie in a deck that is dealt to the end before it is shuffled again: an incremental Fisher-Yates
shuffle (Fisher and Yates 1938; Durstenfeld, CACM 1964). So nobody is picked twice before everybody was picked once.
"""

from __future__ import annotations

from collections.abc import Callable


class PeerPicker:
    """Deal cart ids at random; add, discard and deal each take constant time per cart."""

    def __init__(self, randrange: Callable[[int, int], int]) -> None:
        self._randrange = randrange
        self._cards: list[str] = []
        self._place: dict[str, int] = {}
        self._dealt = 0  # the cards before this place have been dealt in this pass

    def __len__(self) -> int:
        return len(self._cards)

    def __contains__(self, card: str) -> bool:
        return card in self._place

    def add(self, card: str) -> None:
        """Put a card in, to be dealt in this pass."""
        if card not in self._place:
            self._place[card] = len(self._cards)
            self._cards.append(card)

    def discard(self, card: str) -> None:
        """Take a card out, wherever it lies."""
        place = self._place.get(card)
        if place is None:
            return
        if place < self._dealt:
            # Closing the gap with the last dealt card keeps dealt and undealt apart.
            self._dealt -= 1
            self._swap(place, self._dealt)
            place = self._dealt
        self._swap(place, len(self._cards) - 1)
        self._cards.pop()
        del self._place[card]

    def deal(self, count: int, without: str) -> list[str]:
        """Return up to ``count`` different cards, none of them ``without``."""
        hand: list[str] = []
        wanted = min(count, len(self._cards) - (without in self._place))
        set_aside = [card for card in (without,) if self._mark_dealt(card)]
        while len(hand) < wanted:
            if self._dealt == len(self._cards):
                # A new pass begins in the middle of a hand.
                self._dealt = 0
                set_aside = [card for card in (*hand, without) if self._mark_dealt(card)]
            card = self._cards[self._randrange(self._dealt, len(self._cards))]
            self._mark_dealt(card)
            hand.append(card)
        for card in set_aside:
            # They could not be dealt just now, but their turn in this pass is still to come.
            self._dealt -= 1
            self._swap(self._place[card], self._dealt)
        return hand

    def _mark_dealt(self, card: str) -> bool:
        """Move a card to the dealt ones; tell whether it was among the others."""
        place = self._place.get(card)
        if place is None or place < self._dealt:
            return False
        self._swap(place, self._dealt)
        self._dealt += 1
        return True

    def _swap(self, first: int, second: int) -> None:
        cards = self._cards
        cards[first], cards[second] = cards[second], cards[first]
        self._place[cards[first]] = first
        self._place[cards[second]] = second
