"""A fleet over several bridges while bridges and carts are killed and stopped, and garbage comes at the DHT's ports.

``python -m tests.soak.churn --minutes 10 --bridges 5 --carts 40 --seed 1``. Ends with status 1 if a round failed that
was not cut short by the death of its own cart, if a cart was not attached again, or if a program has met a fault.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.bridges.directories import bridge_record, cart_record
from support.processes.fleet import Fleet, FleetBridge, FleetCart
from support.processes.programs import running, wait_for

from cart_common.wire.identity import Identity
from parent_cart.directory.datagrams import Rpc, answer_datagram, request_datagram
from parent_cart.directory.storage import dht_key
from tests.soak.transfers import MIB, anonymous_bytes

ROWS = 20
PEERS = 4
# The cart's own defaults: what is measured here is what an operator gets.
AS_SHIPPED = ("--reconnect-first-s", "0.5", "--reconnect-cap-s", "15")
FINE = ("AGGREGATED", "KEPT_OWN", "INTERRUPTED")


class Garbage(threading.Thread):
    """Sends what is no datagram, or is one and lies, to all ports of the DHT."""

    def __init__(self, ports: list[int], seed: int, per_s: float) -> None:
        super().__init__(daemon=True)
        self._ports = ports
        self._draw = random.Random(seed)
        self._pause_s = 1 / per_s
        self._over = threading.Event()
        self.sent = 0

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._over.wait(self._pause_s):
                with suppress(OSError):  # no bridge listens there at the moment
                    sender.sendto(self._datagram(), ("127.0.0.1", self._draw.choice(self._ports)))
                self.sent += 1

    def end(self) -> None:
        self._over.set()
        self.join()

    def _datagram(self) -> bytes:
        draw = self._draw
        message_id, node_id = draw.randbytes(20), draw.randbytes(20)
        record = draw.choice([cart_record, bridge_record])(Identity.generate())
        forged = record.encoded.replace(b"ws://bridge", b"ws://brigde")
        key = dht_key(record.name)
        made = draw.choice(
            [
                draw.randbytes(draw.randrange(2000)),
                answer_datagram(message_id, [[draw.randbytes(20), "127.0.0.1", draw.choice(self._ports)]] * 20),
                request_datagram(message_id, Rpc.STORE, node_id, key, forged),
                request_datagram(message_id, Rpc.STORE, node_id, draw.randbytes(20), record.encoded),
                request_datagram(message_id, Rpc.FIND_NODE, node_id, draw.randbytes(20)),
            ]
        )
        if draw.random() < 0.3:
            place = draw.randrange(len(made) + 1)
            made = made[:place] + draw.randbytes(draw.randrange(8)) + made[place + draw.randrange(8) :]
        return made


class Feeder(threading.Thread):
    """Keeps every cart supplied with rows, one round's at a time."""

    def __init__(self, carts: list[FleetCart]) -> None:
        super().__init__(daemon=True)
        self._carts = carts
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(1.0):
            for cart in self._carts:
                if not self._over.is_set() and cart.is_ready():
                    cart.try_to_feed()

    def end(self) -> None:
        self._over.set()
        self.join()


class Churn:
    """The fleet, what is done to it, and what came of it."""

    def __init__(self, folder: Path, bridges: int, carts: int, seed: int) -> None:
        self._draw = random.Random(seed)
        enough = ("--cluster-size", str(PEERS), "--min-peers", "2")
        self.fleet = Fleet(folder, bridges, carts, ROWS, *enough, *AS_SHIPPED, LIGHT_TASK_BALLAST_BYTES="500000")
        self.garbage = Garbage([bridge.dht_port for bridge in self.fleet.bridges], seed, per_s=200)
        self.feeder = Feeder(self.fleet.carts)
        self.done: Counter[str] = Counter()
        self.elsewhere_s: dict[str, list[float]] = {"killed": [], "stopped": []}

    def run(self, seconds: float) -> bool:
        """Disturb for so long, let it settle, report; return whether all is well."""
        fleet = self.fleet
        with ExitStack() as stack:
            stack.enter_context(running(*fleet.bridges))
            fleet.let_bridges_meet()
            stack.enter_context(running(*fleet.carts))
            fleet.let_carts_know_all()
            self.garbage.start()
            self.feeder.start()
            memory = self._memory_of(fleet.bridges[0])  # the first one is never stopped or killed
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at:
                time.sleep(self._draw.uniform(2, 8))
                self._disturb()
            self.feeder.end()
            for cart in fleet.carts:
                wait_for(lambda cart=cart: cart.attached_to() and cart.is_ready(), 180, "a cart being ready")
            self.garbage.end()
            return self._report(memory)

    def _disturb(self) -> None:
        what = self._draw.choices(["bridge killed", "bridge stopped", "cart killed"], [3, 3, 2])[0]
        self.done[what] += 1
        if what == "cart killed":
            cart = self._draw.choice(self.fleet.carts)
            cart.kill()
            cart.start()
            return
        bridge = self._draw.choice(self.fleet.bridges[1:])
        began = time.monotonic()
        if what == "bridge killed":
            bridge.kill()
            began = time.monotonic()
        elif bridge.stop(30) != 0:
            self.done["bridge ended badly"] += 1
        for cart in self.fleet.carts:
            wait_for(lambda cart=cart: cart.attached_to() not in ("", bridge.url), 60, "a cart being elsewhere")
        self.elsewhere_s[what.removeprefix("bridge ")].append(time.monotonic() - began)
        time.sleep(self._draw.choice([0, 0, 5]))
        bridge.start()
        wait_for(bridge.neighbours, 60, "a bridge being back")

    def _report(self, memory_before: int) -> bool:
        fleet = self.fleet
        outcomes = fleet.outcomes()
        reasons = Counter(
            verdict["reason"] for cart in fleet.carts for record in cart.rounds() for verdict in record["verdicts"]
        )
        faults = [program._log.name for program in fleet.programs if "Traceback" in program.log]
        print(f"done: {dict(self.done)}; garbage datagrams: {self.garbage.sent:,}")
        for how, times in self.elsewhere_s.items():
            if times:
                print(
                    f"bridge {how}: all carts elsewhere after {statistics.median(times):.1f} s (median), "
                    f"{max(times):.1f} s at most, {len(times)} times"
                )
        print(f"rounds: {dict(outcomes)}; verdicts: {dict(reasons)}")
        print(f"carts by bridge at the end: {[bridge.carts() for bridge in fleet.bridges]}")
        grown = self._memory_of(fleet.bridges[0]) - memory_before
        print(f"the bridge that ran all the time holds {grown / MIB:+.1f} MiB more than at the start")
        print(f"programs with faults in their logs: {faults or 'none'}", flush=True)
        failed = sum(count for outcome, count in outcomes.items() if outcome not in FINE)
        return not (failed or faults or self.done["bridge ended badly"])

    @staticmethod
    def _memory_of(bridge: FleetBridge) -> int:
        return anonymous_bytes(bridge.process.pid)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--bridges", type=int, default=5)
    parser.add_argument("--carts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", type=Path, help="keep logs and data here")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="churn-"))
    print(f"seed {given.seed}, in {folder}, load average {os.getloadavg()[0]:.1f}", flush=True)
    good = Churn(folder, given.bridges, given.carts, given.seed).run(given.minutes * 60)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
