"""A cart's shop alone and beside hostile clients: hard pictures, half-open connections, a flood of check-outs.

python benchmarks/hostile_shoppers.py [--seconds 8] [--attacks "16 grids,flood"] [--tls]

Honest shoppers ask for the items every 20 ms and check out once a second, at fixed times: an answer that is late
delays no later question, so waiting is counted whole. They come from addresses of 127.0.1.0/24, each attack from one
address in a process of its own. Nobody shows a token. With --tls the half-open connections begin a handshake, which
costs the cart a signature, and never answer the cart's part of it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import select
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cart_process import TRUSTING, MeasuredCart, connect_to_pages
from benchmarks.machine import open_file_limit, percentile
from tests.support.networks.certificates import Authority

ITEMS_EVERY_S: Final = 0.02
SALE_EVERY_S: Final = 1.0
PICTURES: Final = 16
HALF_OPEN: Final = 600
ANSWER_S: Final = 20.0
PIECE_BYTES: Final = 65536
HONEST: Final = 40
ATTACKER: Final = "127.0.0.66"
LEAVE_ALONE_S: Final = 1.0
HALF_A_REQUEST: Final = b"POST /api/bill HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n"
JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Pages:
    """Where a cart's pages are."""

    port: int
    tls: bool

    def connect(self, source: str) -> http.client.HTTPConnection:
        """Return a connection from an address, still closed."""
        return connect_to_pages(self.port, self.tls, ANSWER_S, source)

    def half_a_request(self) -> bytes:
        """Return what a client sends that then sends nothing more."""
        if not self.tls:
            return HALF_A_REQUEST
        sent = ssl.MemoryBIO()
        with suppress(ssl.SSLWantReadError):
            TRUSTING.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="127.0.0.1").do_handshake()
        return sent.read()


Attack = Callable[[Pages, Event], dict[str, int]]


def ask(pages: Pages, source: str, method: str, path: str, body: bytes | None = None, kind: str = "") -> int:
    """Return the status of an answer on a new connection; 0 if there is none in time."""
    connection = pages.connect(source)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def bill(number: int, name: str, amount: int = 1) -> bytes:
    """Return the body of a check-out."""
    lines = [{"code": "0200000000103", "amount": amount}]
    return json.dumps({"sale_id": f"{name}-{number}", "gender": 0, "lines": lines}).encode()


# Attacks: each runs until the event is set, and returns what it got.


def send_pictures(kind: str, pages: Pages, over: Event) -> dict[str, int]:
    """Have 16 pictures looked at, at any time."""
    picture, got = hard_picture(kind), Counter[str]()

    def keep_sending() -> None:
        while not over.is_set():
            got[f"status {ask(pages, ATTACKER, 'POST', '/api/scan', picture, 'image/png')}"] += 1

    threads = [threading.Thread(target=keep_sending, daemon=True) for _ in range(PICTURES)]
    for thread in threads:
        thread.start()
    over.wait()
    return dict(got)


def hold_connections(pages: Pages, over: Event) -> dict[str, int]:
    """Hold connections with half a request each, and open each again that is cut."""
    held: dict[int, socket.socket] = {}
    poll, opened, half = select.poll(), 0, pages.half_a_request()
    while not over.is_set():
        while len(held) < HALF_OPEN and not over.is_set():
            with suppress(OSError):
                one = socket.create_connection(("127.0.0.1", pages.port), timeout=0.2, source_address=(ATTACKER, 0))
                one.sendall(half)
                held[one.fileno()] = one
                poll.register(one, select.POLLIN)
                opened += 1
        for descriptor, _ in poll.poll(100):
            with suppress(ConnectionError):
                if held[descriptor].recv(PIECE_BYTES):  # the cart's part of a handshake
                    continue
            poll.unregister(descriptor)
            held.pop(descriptor).close()
    return {"opened": opened}


def flood(pages: Pages, over: Event) -> dict[str, int]:
    """Check out as fast as it goes, over one connection."""
    got, number = Counter[str](), 0
    connection = pages.connect(ATTACKER)
    while not over.is_set():
        number += 1
        try:
            connection.request("POST", "/api/checkout", bill(number, f"flood-{over_id(over)}"), JSON)
            answer = connection.getresponse()
            answer.read()
            got[f"status {answer.status}"] += 1
        except (OSError, http.client.HTTPException):
            connection.close()
            got["status 0"] += 1
    return dict(got)


def over_id(over: Event) -> str:
    """Return a name that is new in each attack."""
    return f"{os.getpid()}-{id(over)}"


def hard_picture(kind: str) -> bytes:
    """Return a PNG that is dear to search: a grid of a few KB, or noise of 3 MB."""
    import numpy as np  # noqa: PLC0415 - for attackers alone
    from PIL import Image  # noqa: PLC0415

    if kind == "grids":
        pixels = np.zeros((1600, 1600), np.uint8)
        pixels[::4] = pixels[:, ::4] = 255
    else:
        pixels = np.random.default_rng(1).integers(0, 256, (1700, 1700), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=kind == "grids")
    return file.getvalue()


ATTACKS: Final[dict[str, list[Attack]]] = {
    "none": [],
    "16 grids": [partial(send_pictures, "grids")],
    "16 of noise": [partial(send_pictures, "noise")],
    "600 half-open": [hold_connections],
    "flood": [flood],
    "all at once": [partial(send_pictures, "noise"), hold_connections, flood],
}


def attacking(attack: Attack, pages: Pages, over: Event, told: Any) -> None:
    """Run an attack in this process and tell what it got."""
    open_file_limit()
    told.put(attack(pages, over))


# Honest shoppers.


def served(pages: Pages, seconds: float, name: str) -> tuple[list[float], list[float], int]:
    """Return the milliseconds of items and of check-outs from when each was due, and how many failed."""
    pool, begins_at = ThreadPoolExecutor(64), time.perf_counter() + 0.1

    def one(due_at: float, number: int, sells: bool) -> tuple[float, bool]:
        source = f"127.0.1.{1 + number % HONEST}"
        time.sleep(max(0.0, due_at - time.perf_counter()))
        if sells:
            status = ask(pages, source, "POST", "/api/checkout", bill(number, name), "application/json")
        else:
            status = ask(pages, source, "GET", "/api/items")
        return 1000 * (time.perf_counter() - due_at), status in (200, 201)

    def due(every_s: float, sells: bool) -> list[Any]:
        return [(begins_at + number * every_s, number, sells) for number in range(max(1, int(seconds / every_s)))]

    asked = sorted(due(ITEMS_EVERY_S, False) + due(SALE_EVERY_S, True))
    answers = list(zip(asked, pool.map(lambda parts: one(*parts), asked), strict=True))
    pool.shutdown()
    took: dict[bool, list[float]] = {False: [], True: []}
    for (_, _, sells), (milliseconds, _) in answers:
        took[sells].append(milliseconds)
    return took[False], took[True], sum(not good for _, (_, good) in answers)


def measure(
    pages: Pages, name: str, attacks: list[Attack], seconds: float
) -> tuple[list[float], list[float], int, str]:
    """Serve honest shoppers beside attacks; return their times, how many failed, and what the attackers got."""
    spawn = multiprocessing.get_context("spawn")
    over, told = spawn.Event(), spawn.Queue()
    attackers = [spawn.Process(target=attacking, args=(attack, pages, over, told), daemon=True) for attack in attacks]
    for attacker in attackers:
        attacker.start()
    if attacks:
        time.sleep(2 * LEAVE_ALONE_S)  # until all of them are at work
    items, sales, failed = served(pages, seconds, name)
    over.set()
    got = Counter[str]()
    for _ in attackers:
        got.update(told.get(timeout=2 * ANSWER_S))
    for attacker in attackers:
        attacker.join(ANSWER_S)
    return items, sales, failed, ", ".join(f"{count} {what}" for what, count in sorted(got.items()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long to measure beside each attack")
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="which, with commas between them")
    parser.add_argument("--tls", action="store_true", help="serve and ask at https://")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        quiet: tuple[str, ...] = ("--join-wait-s", "0", "--starter-rows", "100", "--dataset-size", "1000000")
        quiet += ("--max-round-rows", "1000000")
        if options.tls:
            certificate, key = Authority(Path(folder)).vouch()
            quiet += ("--tls-cert", certificate, "--tls-key", key)
        with MeasuredCart(Path(folder) / "cart", *quiet, tls=options.tls) as cart:
            pages = Pages(cart.port, options.tls)
            cart.wait_for(lambda status: status["stage"] == "SERVING")
            served(pages, 1.0, "warm")
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
            print(
                "| beside | items p50, ms | p99, ms | of alone | check-out p99, ms | of alone | failed "
                "| attackers got |"
            )
            print("|---|---|---|---|---|---|---|---|", flush=True)
            alone: tuple[float, float] | None = None
            for attack in ["none", *(name for name in options.attacks.split(",") if name != "none")]:
                items, sales, failed, got = measure(pages, attack, ATTACKS[attack], options.seconds)
                p99, sale = percentile(items, 0.99), percentile(sales, 0.99)
                alone = alone or (p99, sale)
                print(
                    f"| {attack} | {percentile(items, 0.5):.1f} | {p99:.1f} | {p99 / alone[0]:.1f} | {sale:.1f} "
                    f"| {sale / alone[1]:.1f} | {failed} | {got} |",
                    flush=True,
                )
                time.sleep(LEAVE_ALONE_S)


if __name__ == "__main__":
    main()
