"""A walk through the DHT towards a key: it asks the nearest nodes that are known, some at once, for nearer ones.

Other than in the library, nobody who is slow or dead holds the others up, and it ends: a hostile node can name nodes
that do not exist, each nearer than the last. A record that was found does not end it at once: of several that nodes
hold, the newest counts, not the most common.
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
# So many nodes that hold a record are asked for it: one of them may have missed the newest, or keep it back.
ENOUGH_HOLDERS: Final = 3


@dataclass(frozen=True)
class LookupAnswer:
    """What a node has answered: a record, or nodes that are nearer."""

    record: Record | None = None
    nodes: list[Node] = field(default_factory=list)


class Lookup:
    """One walk.

    Args:
        key: where to.
        start: the nearest nodes that are known.
        ask: asks a node for the key; None if it does not answer, or wrongly.
        breadth: how many of the nearest nodes are to answer.
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
        """How many nodes, one named by the other, led to the farthest one that has answered."""

    async def run(self) -> None:
        """Walk until enough holders of the record, or all of the nearest nodes, were asked."""
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
