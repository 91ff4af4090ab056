"""Kademlia's iterative lookup: it asks the nearest known nodes for nearer ones, several at a time.

Unlike the library's, a slow or dead node does not delay it, and it always ends: a hostile node can name nodes that do
not exist, each nearer than the last. It does not end at the first record: of several copies, the newest counts, not the
most common.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from kademlia.node import Node, NodeHeap

from cart_common.wire.records import Record, newest

BUCKET_NODES: Final = 20
AT_ONCE: Final = 3
MOST_ASKED: Final = 100
# How many holders of a record are asked: one of them may have missed the newest one, or withhold it.
ENOUGH_HOLDERS: Final = 3


@dataclass(frozen=True)
class LookupAnswer:
    """A node's answer: a record, or nearer nodes."""

    record: Record | None = None
    nodes: list[Node] = field(default_factory=list)


class Lookup:
    """One lookup (Maymounkov and Mazieres, Kademlia, 2002).

    Args:
        key: the key to look up.
        start: the nearest nodes that are known.
        ask: asks a node for the key; returns None if the answer is wrong or missing.
        breadth: how many of the nearest nodes must answer.
    """

    def __init__(
        self,
        key: bytes,
        start: list[Node],
        ask: Callable[[Node], Coroutine[Any, Any, LookupAnswer | None]],
        breadth: int = BUCKET_NODES,
    ) -> None:
        self._ask = ask
        self._nearest = NodeHeap(Node(key), breadth)
        self._nearest.push(start)
        self._hops = {node.id: 1 for node in start}
        self._answered: set[bytes] = set()
        self.record: Record | None = None
        """The newest record that was found."""
        self.holders = 0
        self.asked = 0
        self.hops = 0
        """The longest chain of nodes, each named by the one before, that has answered."""

    async def run(self) -> None:
        """Ask until enough holders of the record, or all of the nearest nodes, have answered."""
        asking: dict[asyncio.Task[LookupAnswer | None], Node] = {}
        try:
            while self.holders < ENOUGH_HOLDERS:
                room = min(AT_ONCE - len(asking), MOST_ASKED - self.asked)
                for node in self._nearest.get_uncontacted()[:room]:
                    self._nearest.mark_contacted(node)
                    asking[asyncio.ensure_future(self._ask(node))] = node
                    self.asked += 1
                if not asking:
                    break
                done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                for answer in done:
                    self._take(asking.pop(answer), answer.result())
        finally:
            for answer in asking:
                answer.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    def reached(self) -> list[Node]:
        """Return the nearest nodes that have answered, the nearest first."""
        return [node for node in self._nearest if node.id in self._answered]

    def _take(self, node: Node, found: LookupAnswer | None) -> None:
        if found is None:
            self._nearest.remove([node.id])
            return
        self._answered.add(node.id)
        self.hops = max(self.hops, self._hops[node.id])
        if found.record is not None:
            self.holders += 1
            self.record = newest(self.record, found.record)
        for named in found.nodes:
            self._hops.setdefault(named.id, self._hops[node.id] + 1)
        self._nearest.push(found.nodes)
