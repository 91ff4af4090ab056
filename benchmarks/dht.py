"""The DHT of bridges, all in one process on the loopback: what a lookup of a cart costs, also when a fifth is dead.

A hop is a node that the previous node of the lookup has named; Kademlia promises at most log2 N hops. CPU is the CPU
time of all nodes that take part in a lookup; four lookups run at once. One process runs all nodes, so the times are
those of this process.

python benchmarks/dht.py [--sizes 16,64,256,1024] [--lookups 300]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import open_file_limit, percentile
from cart_common.process.tuning import new_event_loop
from cart_common.wire.fleet_key import OPEN, bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Role
from cart_common.wire.records import BridgeRecord, CartRecord, make_bridge_record, make_cart_record
from parent_cart.directory.datagrams import Address
from parent_cart.directory.node import DhtNode, LookupResult
from parent_cart.directory.rpc_socket import RequestRates
from parent_cart.directory.storage import RecordStorage

SIGNATURE = "ab" * 16
TOKEN = bridge_token(OPEN)
KILLED = 0.2
AT_ONCE = 4
WAIT_S = 1.0
CHANCE = random.Random(1)  # noqa: S311 - the same fleet each time


class Bridge:
    """A DHT node with a bridge's record, without the rest of a bridge."""

    def __init__(self) -> None:
        self._identity = Identity.generate()
        self._record: BridgeRecord | None = None
        storage = RecordStorage(TOKEN, time.time)
        self.node = DhtNode(
            *(self._identity, TOKEN, self.record, lambda _: None, storage, Counter[str](), time.time),
            *(WAIT_S, RequestRates(1e9, 1e9)),
        )

    def record(self) -> BridgeRecord:
        """Return its record, renewed at half its life, because a run may take longer than a record holds."""
        now_s = time.time()
        if self._record is None or not self._record.holds_at(now_s + BridgeRecord.MAX_LIFE_S / 2):
            self._record = make_bridge_record(
                self._identity,
                TOKEN,
                url="ws://bridge.example:9000",
                carts=9000,
                max_carts=10_000,
                shells={SIGNATURE: 8000},
                sequence=int(now_s),
                now_s=now_s,
                life_s=BridgeRecord.MAX_LIFE_S,
            )
        return self._record

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("127.0.0.1", self.node.rpc_socket.port)


@dataclass(frozen=True)
class Seen:
    """The result of one lookup, and its time."""

    lookup: LookupResult
    ms: float
    found: bool


async def in_turns(works: Sequence[Callable[[], Awaitable[object]]], at_once: int) -> None:
    """Run works, at most ``at_once`` at a time."""
    turns = asyncio.Semaphore(at_once)

    async def one(work: Callable[[], Awaitable[object]]) -> None:
        async with turns:
            await work()

    await asyncio.gather(*map(one, works))


async def joined(size: int) -> list[Bridge]:
    """Return bridges that have joined one DHT; each knows one other at first, as if from ``--bootstrap``."""
    bridges: list[Bridge] = []
    for _ in range(size):
        bridge = Bridge()
        await bridge.node.rpc_socket.listen("127.0.0.1", 0)
        if bridges:
            await bridge.node.join([CHANCE.choice(bridges).address])
            await bridge.node.find_self()
        bridges.append(bridge)
    # As each bridge does by itself within its first minute.
    walks = [lambda bridge=bridge: bridge.node.walk_to(CHANCE.randbytes(20)) for bridge in bridges]  # type: ignore[misc]
    await in_turns(walks, 8)
    return bridges


async def published(bridges: list[Bridge], count: int) -> list[CartRecord]:
    """Return new records of carts, which random bridges have put into the DHT."""
    records = [
        make_cart_record(
            Identity.generate(),
            TOKEN,
            bridge_id="cd" * 16,
            bridge_url="ws://bridge.example:9000",
            role=Role.SHELL,
            model_signature=SIGNATURE,
            sequence=1,
            now_s=time.time(),
        )
        for _ in range(count)
    ]
    puts = [lambda record=record: CHANCE.choice(bridges).node.put(record) for record in records]  # type: ignore[misc]
    await in_turns(puts, 4)
    return records


async def looked_up(bridges: list[Bridge], records: list[CartRecord], count: int) -> tuple[list[Seen], float]:
    """Look up random carts from random bridges; return the lookups, and the CPU seconds of all nodes."""
    seen: list[Seen] = []
    used_s = time.process_time()

    async def look_up() -> None:
        record, bridge = CHANCE.choice(records), CHANCE.choice(bridges)
        started = time.perf_counter()
        lookup = await bridge.node.lookup(record.name)
        seen.append(Seen(lookup, 1000 * (time.perf_counter() - started), lookup.record == record))

    await in_turns([look_up] * count, AT_ONCE)
    return seen, time.process_time() - used_s


def row(size: int, state: str, bridges: list[Bridge], result: tuple[list[Seen], float]) -> str:
    """Return a row of the table."""
    seen, cpu_s = result
    hops = [each.lookup.hops for each in seen]
    times = [each.ms for each in seen]
    contacts = statistics.mean(len(bridge.node.contacts.by_id) for bridge in bridges)
    return (
        f"{size:>6} {math.log2(size):>5.0f} {state:<14} {contacts:>8.0f} {statistics.mean(hops):>7.2f} "
        f"{max(hops):>4} {statistics.mean(each.lookup.asked for each in seen):>6.1f} "
        f"{1000 * cpu_s / len(seen):>7.1f} {statistics.median(times):>8.1f} {percentile(times, 0.99):>8.1f} "
        f"{sum(each.found for each in seen) / len(seen):>7.1%}"
    )


async def measure(size: int, lookups: int) -> None:
    """Print the rows of one size."""
    bridges = await joined(size)
    records = await published(bridges, lookups)
    print(row(size, "all alive", bridges, await looked_up(bridges, records, lookups)), flush=True)
    dead = set(CHANCE.sample(range(size), round(KILLED * size)))
    await asyncio.gather(*(bridges[number].node.close() for number in dead))
    alive = [bridge for number, bridge in enumerate(bridges) if number not in dead]
    print(row(size, "20 % killed", alive, await looked_up(alive, records, lookups)), flush=True)
    await in_turns([bridge.node.contacts.poll for bridge in alive], 16)
    print(row(size, "dead noticed", alive, await looked_up(alive, records, lookups)), flush=True)
    await asyncio.gather(*(bridge.node.close() for bridge in alive))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="16,64,256,1024", help="numbers of nodes, separated by commas")
    parser.add_argument("--lookups", type=int, default=300, help="carts to publish, and lookups for each row")
    options = parser.parse_args()
    open_file_limit()
    print(" nodes log2N state          contacts    hops  max  asked  CPU ms   ms p50   ms p99   found")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        for size in map(int, options.sizes.split(",")):
            runner.run(measure(size, options.lookups))


if __name__ == "__main__":
    main()
