"""A walk through the DHT towards a key, in rounds, as the library does it: each asks the nearest nodes that are known.

Other than in the library, it ends: a hostile node can name nodes that do not exist, each nearer than the last. And a
record that was found does not end it at once: of several that nodes hold, the newest counts, not the most common.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kademlia.crawling import SpiderCrawl
from kademlia.node import Node

from child_cart.network.records import Record, newest

# The library tells of each round at INFO.
logging.getLogger("kademlia").setLevel(logging.WARNING)

BUCKET_NODES: Final = 20
AT_ONCE: Final = 3
MOST_ROUNDS: Final = 16
# So many nodes that hold a record are asked for it: one of them may have missed the newest, or keep it back.
ENOUGH_HOLDERS: Final = 3


@dataclass(frozen=True)
class Found:
    """What a node has answered: a record, or nodes that are nearer."""

    record: Record | None = None
    nodes: list[Node] = field(default_factory=list)


class Crawl(SpiderCrawl):  # type: ignore[misc]
    """One walk.

    Args:
        key: where to.
        start: the nearest nodes that are known.
        ask: asks a node for the key; None if it does not answer, or wrongly.
    """

    def __init__(self, key: bytes, start: list[Node], ask: Callable[[Node], Awaitable[Found | None]]) -> None:
        super().__init__(None, Node(key), start, BUCKET_NODES, AT_ONCE)
        self._ask = ask
        self.record: Record | None = None
        """The newest record that was found."""
        self.holders = 0
        self.rounds = 0
        self.asked = 0
        self._answered: set[bytes] = set()

    async def run(self) -> None:
        """Walk until enough holders of the record, or all of the nearest nodes, were asked."""
        while self.rounds < MOST_ROUNDS and self.holders < ENOUGH_HOLDERS and not self.nearest.have_contacted_all():
            self.rounds += 1
            await self._find(self._counted)

    def reached(self) -> list[Node]:
        """Return the nearest nodes that have answered, the nearest first."""
        return [node for node in self.nearest if node.id in self._answered]

    async def _counted(self, node: Node, _: Node) -> Found | None:
        self.asked += 1
        return await self._ask(node)

    async def _nodes_found(self, responses: dict[bytes, Any]) -> None:
        for node_id, found in responses.items():
            if found is None:
                continue
            self._answered.add(node_id)
            if found.record is not None:
                self.holders += 1
                self.record = newest(self.record, found.record)
            self.nearest.push(found.nodes)
        self.nearest.remove([node_id for node_id, found in responses.items() if found is None])
