"""What hostile connections take from an honest fleet at the same bridge, beside what it has alone.

Two whole carts transfer models through a real bridge, and small carts ask it for other carts (SEEK) while ``/healthz``
is read. First nobody else is there, then one kind of attackers, in turns, in one run:

- flood: members that send CLUSTER for 256 peers without pause, as fast as the bridge reads;
- strangers: connections that never attach, each with most of a message of 128 KiB; each is opened again a second after
  it was cut;
- credit: members to which models are sent, that grant all the credit that the bridge allows and read nothing; half of
  them do so in 16 transfers each of which nothing is sent. They begin again when the bridge takes it back.

Attackers run at the lowest priority, in a session of their own: they are other machines, and the bridge and honest
carts must not wait for a core that they use. Linux shares cores among sessions first (autogroup), so the priority of a
process counts only inside its session. With ``--session-nice -20`` (for root) the session of the bridge and the honest
carts does not wait behind other work of the machine either.
Prints the p99 of ``/healthz`` and of control in milliseconds, the honest throughput, and each as a multiple of what it
is alone.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import bridge_process, open_file_limit, percentile, resident_kb, spread
from benchmarks.network_cart import NetworkCart
from benchmarks.raw_cart import CREDIT, RawCart, Stream, client_frame

CHUNK: Final = 512 * 1024
WINDOW: Final = 4 * 1024 * 1024
MODEL_BYTES: Final = 50_000_000
PAUSE_S: Final = 0.01
STREAMS: Final = 4
AGAIN_S: Final = 1.0
SETTLE_S: Final = 3.0
HOLDERS_TRANSFERS: Final = 16
ENDLESS: Final = 1_000_000 * CHUNK
SEEKERS: Final = 10  # a bridge lets a cart ask 20 times a second
MOST_RATIO: Final = 10.0
LEAST_SHARE: Final = 0.8
CLUSTER: Final = b'{"type":"CLUSTER","request":"' + b"11" * 16 + b'","size":256,"minimum":1}'

Attack = Callable[[int, int, Event], None]


def flood(port: int, count: int, begun: Event) -> None:
    """Attach members that send CLUSTER without pause and read all answers."""
    carts = [RawCart(port, "KERNEL") for _ in range(count)]
    begun.set()
    messages = client_frame(1, CLUSTER) * 1000

    def send(cart: RawCart) -> None:
        with suppress(OSError):
            while True:
                cart.socket.sendall(messages)

    def read(cart: RawCart) -> None:
        with suppress(OSError):
            while cart.socket.recv(1 << 18):
                pass

    for cart in carts:
        for work in (send, read):
            threading.Thread(target=work, args=(cart,), daemon=True).start()
    threading.Event().wait()


def strangers(port: int, count: int, begun: Event) -> None:
    """Hold connections that never attach, and open each one again when it is cut."""
    request = (
        b"GET /v1/cart HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    message = b"\x02\xff" + (131_000).to_bytes(8, "big") + bytes(4 + 130_000)

    def hold() -> None:
        for again in itertools.count():
            time.sleep(AGAIN_S if again else 0.0)
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as stranger:
                stranger.sendall(request)
                stranger.recv(1024)
                stranger.sendall(message)
                while stranger.recv(4096):
                    pass

    for _ in range(count):
        threading.Thread(target=hold, daemon=True).start()
    begun.set()
    threading.Event().wait()


def hold_bytes(port: int) -> None:
    """Grant all the credit that the bridge allows, have it used, and read nothing."""
    stream = Stream(port, CHUNK, ENDLESS, WINDOW, 64 * 1024)
    frame, sent, up_to = stream.frame(), 0, 0
    while True:
        stream.taker.say("CREDIT", transfer=stream.id, up_to_bytes=sent + WINDOW)
        for found in CREDIT.finditer(stream.giver.socket.recv(65536)):
            up_to = int(found[1])
        while sent + CHUNK <= up_to:
            stream.giver.socket.sendall(frame)
            sent += CHUNK


def hold_credit(port: int) -> None:
    """Grant all the credit that the bridge allows, in many transfers of which the sender sends nothing."""
    streams = [Stream(port, CHUNK, ENDLESS, WINDOW)]
    streams += [Stream(port, CHUNK, ENDLESS, WINDOW, beside=streams[0]) for _ in range(HOLDERS_TRANSFERS - 1)]
    taker = streams[0].taker
    for stream in streams:
        taker.say("CREDIT", transfer=stream.id, up_to_bytes=WINDOW)
    for _ in streams:  # the bridge ends one after the other when it takes credit back
        while taker.hear()["type"] != "CANCEL":
            pass


def credit(port: int, count: int, begun: Event) -> None:
    """Hold credit or bytes, and begin again when the bridge takes them back."""

    def hold(work: Callable[[int], None]) -> None:
        while True:
            with suppress(OSError):
                work(port)
            time.sleep(AGAIN_S)

    for number in range(count):
        threading.Thread(target=hold, args=((hold_bytes, hold_credit)[number % 2],), daemon=True).start()
    time.sleep(SETTLE_S)
    begun.set()
    threading.Event().wait()


def own_session(nice: int) -> None:
    """Leave the session, and give the new one a priority, where the system has such a thing and allows it."""
    with suppress(OSError):  # the first process of a group has a group of its own already
        os.setsid()
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))


@contextmanager
def attacked(attack: Attack, port: int, count: int) -> Iterator[None]:
    """Run an attack in a process of its own until the block ends."""
    fork = multiprocessing.get_context("fork")
    begun = fork.Event()

    def run() -> None:
        os.nice(19)
        own_session(0)
        attack(port, count, begun)

    attacker = fork.Process(target=run, daemon=True)
    attacker.start()
    try:
        if not begun.wait(60):
            raise RuntimeError("the attackers did not attach; their errors are printed above")
        yield
    finally:
        attacker.kill()
        attacker.join()


def health_ms(port: int) -> float:
    """Return the milliseconds that one GET of ``/healthz`` takes, with its connection."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        while client.recv(4096):
            pass
    return 1000 * (time.perf_counter() - started)


def control_ms(cart: RawCart) -> float:
    """Return the milliseconds from a SEEK to its answer."""
    started = time.perf_counter()
    cart.say("SEEK", request="22" * 16, cart="33" * 16)
    while cart.hear()["type"] != "ERROR":
        pass
    return 1000 * (time.perf_counter() - started)


class Seen(NamedTuple):
    """What an honest fleet saw in a while."""

    health_ms: float
    control_ms: float
    mb_per_s: float


class Fleet:
    """Honest carts: two that transfer models, and some that ask for other carts."""

    def __init__(self, port: int, giver: NetworkCart, taker: NetworkCart) -> None:
        self._port, self._giver, self._taker = port, giver, taker
        self._seekers = [RawCart(port, "SHELL") for _ in range(SEEKERS)]

    def measure(self, seconds: float) -> Seen:
        """Return the p99 of ``/healthz`` and of control in a while, and then the throughput in a while."""
        health, control = list[float](), list[float]()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for seeker in self._seekers:
                health.append(health_ms(self._port))
                control.append(control_ms(seeker))
                time.sleep(PAUSE_S)
        took_s = moved = 0.0
        while took_s < seconds:
            some_s, some = self._taker.fetch(self._giver.id, at_once=STREAMS, times=1)
            took_s, moved = took_s + some_s, moved + some
        return Seen(percentile(health, 0.99), percentile(control, 0.99), moved / took_s / 1e6)


@contextmanager
def honest_fleet(port: int) -> Iterator[Fleet]:
    """Run the honest carts until the block ends."""
    with NetworkCart(port, MODEL_BYTES) as giver, NetworkCart(port, MODEL_BYTES) as taker:
        yield Fleet(port, giver, taker)


def row(name: str, runs: list[tuple[Seen, Seen]]) -> str:
    """Return what was seen beside an attack, and as a multiple of what was seen alone just before."""
    medians = Seen(*(statistics.median(column) for column in zip(*(beside for _, beside in runs), strict=True)))
    ratios = [
        spread([beside[at] / alone[at] for alone, beside in runs], 2 if at == 2 else 1) for at in range(len(medians))
    ]
    return (
        f"{name:<12} {medians.health_ms:>13.2f} {ratios[0]:>18} {medians.control_ms:>10.2f} {ratios[1]:>18} "
        f"{medians.mb_per_s:>6.0f} {ratios[2]:>18}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flooders", type=int, default=64, help="members that send CLUSTER without pause")
    parser.add_argument("--strangers", type=int, default=600, help="connections that do not attach")
    parser.add_argument("--holders", type=int, default=24, help="receivers that hold credit")
    parser.add_argument("--seconds", type=float, default=5, help="how long to measure each kind, each time")
    parser.add_argument("--session-nice", type=int, default=0, help="priority of bridge and honest carts: -20 to 19")
    parser.add_argument("--repeats", type=int, default=9, help="runs of each kind, in turns")
    parser.add_argument("--attacks", default="flood,strangers,credit", help="which attacks, with commas between them")
    options = parser.parse_args()
    open_file_limit()
    own_session(options.session_nice)
    known: dict[str, tuple[Attack, int]] = {
        "flood": (flood, options.flooders),
        "strangers": (strangers, options.strangers),
        "credit": (credit, options.holders),
    }
    attacks = {name: known[name] for name in options.attacks.split(",")}
    print(
        "beside        /healthz p99              ratio    control              ratio   MB/s              share  more MB"
    )
    for name, (attack, count) in attacks.items():
        runs = list[tuple[Seen, Seen]]()
        rise_mb = 0.0
        for _ in range(options.repeats):
            with bridge_process("--heartbeat-s", "600") as (bridge, port), honest_fleet(port) as fleet:
                fleet.measure(options.seconds / 4)  # both have warmed up then
                before, before_kb = fleet.measure(options.seconds), resident_kb(bridge.pid)
                with attacked(attack, port, count):
                    beside = fleet.measure(options.seconds)
                    rise_mb = max(rise_mb, (resident_kb(bridge.pid) - before_kb) * 1024 / 1e6)
                # The machine has other work: what the fleet has alone is measured on both sides of the attack.
                after = fleet.measure(options.seconds)
            runs.append((Seen(*map(statistics.mean, zip(before, after, strict=True))), beside))
        print(row(name, runs), f"{rise_mb:>16.1f}", flush=True)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    print(f"targets: ratios below {MOST_RATIO:g}; beside credit a share of at least {LEAST_SHARE:g}")


if __name__ == "__main__":
    main()
