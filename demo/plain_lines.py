"""The run as lines for a log, where there is no terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .curve import Json, plain_line
from .watch import BridgeView, OwnCart


class PlainLines:
    """The run as lines for a log: each event, each point of the learning, and the end of each process once."""

    def __init__(self) -> None:
        self._told_at: dict[int, float] = {}
        self._told: set[str] = set()
        self._told_points = 0

    def news(
        self, bridge: BridgeView, carts: Sequence[OwnCart], points: Sequence[Json] = (), trouble: str = ""
    ) -> Iterator[str]:
        """Give what is new since the last call, oldest first.

        Args:
            bridge: the view of the bridge.
            carts: the views of the carts.
            points: what was measured after each round, oldest first.
            trouble: why nothing more is measured; empty if all is well.
        """
        if bridge.carts >= len(carts):
            yield from self._once("attached", f"all {len(carts)} carts are attached")
        events = sorted(
            (event["at"], cart.number, event["text"])
            for cart in carts
            for event in cart.status.get("events", [])
            if event["at"] > self._told_at.get(cart.number, 0.0)
        )
        for at, number, text in events:
            self._told_at[number] = at
            yield f"cart {number}: {one_line(text)}"
        for program in (bridge.program, *(cart.program for cart in carts)):
            if program.ending:
                yield from self._once(program.name, f"{program.name} {program.last_words()}")
        yield from map(plain_line, points[self._told_points :])
        self._told_points = len(points)
        if trouble:
            yield from self._once("trouble", trouble)

    def _once(self, what: str, line: str) -> Iterator[str]:
        if what not in self._told:
            self._told.add(what)
            yield line


def one_line(text: str) -> str:
    """Return the text with each run of white space as one space."""
    return re.sub(r"\s+", " ", text).strip()
