"""A cart that does nothing but fetch models from others; a line of JSON after each collection says how it went."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
from collections import Counter, deque
from pathlib import Path

from blake3 import blake3

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.carts.node import Node, model_of

from child_cart.transfers.active import Direction
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.bridge_requests import NotEnoughPeers


def file_digest(path: Path) -> str:
    """Return the digest of a file, without ever holding it: each thread's allocator would keep room for a model."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, blake3).hexdigest()


class Collector:
    """Collect models until the process is ended, and count what happens."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.done = 0
        self.received_bytes = 0
        self.failed: Counter[str] = Counter()

    async def collect(self) -> None:
        """Fetch the models of a cluster, all at the same time."""
        try:
            cluster = await self._node.cluster(size=3)
            await asyncio.gather(*(self._fetch(peer, cluster.cluster_id) for peer in cluster.peers))
        except NotEnoughPeers:
            self.failed["NOT_ENOUGH_PEERS"] += 1
        except TransferError as error:
            self.failed[error.code] += 1

    async def _fetch(self, peer: str, cluster_id: str) -> None:
        try:
            received = await self._node.exchange.fetch(peer, cluster_id)
        except TransferError as error:
            self.failed[f"{error.code}{' in the middle' if self._had_begun(peer) else ''}"] += 1
            return
        digest = await asyncio.to_thread(file_digest, received.path)
        received.path.unlink()
        if digest != received.offer.digest:
            raise AssertionError(f"a model of {received.offer.total_bytes} bytes came with others than were offered")
        self.done += 1
        self.received_bytes += received.offer.total_bytes

    def _had_begun(self, peer: str) -> bool:
        """Whether chunks had come of the transfer from this peer that has just failed."""
        views = [view for view in self._node.exchange.views() if (view.peer, view.direction) == (peer, Direction.IN)]
        return max(views, key=lambda view: view.ended_at or 0.0).moved_bytes > 0


async def run(url: str, folder: Path, model_bytes: int, pause_s: float, seed: int) -> None:
    """Attach and collect until the process is ended."""
    choice = random.Random(seed)
    # A link that fell silent is found out after one and a half heartbeats; a stall lasts longer than several of those.
    model = model_of(choice.randbytes(model_bytes))
    node = Node(url, folder, model, heartbeat_s=1.0, stall_timeout_s=15.0)
    # A test reads what went out; kept for half an hour, it would be all that grows here.
    node.wire.sent, node.wire.frames = deque(maxlen=1), deque(maxlen=1)  # type: ignore[assignment]
    collector = Collector(node)
    async with asyncio.TaskGroup() as group:
        group.create_task(node.link.run(node.exchange.home))
        while True:
            await node.link.wait_attached()
            await collector.collect()
            counts = {"done": collector.done, "bytes": collector.received_bytes, "failed": collector.failed}
            print(json.dumps(counts), flush=True)
            await asyncio.sleep(pause_s * choice.uniform(0.5, 1.5))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model-bytes", type=int, required=True)
    parser.add_argument("--pause-s", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    asyncio.run(run(**vars(parser.parse_args())))
