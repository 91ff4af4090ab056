"""A cart's whole network side in a process of its own: a real link, exchange, spool and seal, without learning.

Offers random bytes as its model, and fetches the models of the peers that it is given. ``NetworkCart`` starts such a
process and talks to it over its pipes, with one JSON line in each direction.

    python benchmarks/network_cart.py ws://HOST:PORT MODEL_BYTES
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from blake3 import blake3

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cart_common.process.tuning import new_event_loop, raise_malloc_thresholds
from cart_common.wire.fleet_key import OPEN
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Role
from child_cart.config import CartSettings, exchange_limits
from child_cart.network.bridge_selection import BridgeSelection
from child_cart.network.handshake import Standing
from child_cart.network.link import Link
from child_cart.transfers.cipher_choice import fastest_cipher
from child_cart.transfers.exchange import Exchange
from child_cart.transfers.outgoing import Offerable
from child_cart.transfers.spool import Spool

SIGNATURE = "cd" * 16
CODEC = "random"
AT_ONCE = 64


class Network:
    """The network side of a cart, wired as in a cart, with a cart's default settings; gives the model itself."""

    def __init__(self, url: str, model_bytes: int, folder: Path) -> None:
        payload = os.urandom(model_bytes)
        digest = blake3(payload).hexdigest()
        self._model = Offerable(payload, digest, CODEC, SIGNATURE, model_version=1, samples=1, accuracy=0.5)
        settings = CartSettings()
        # As many transfers between two carts as the benchmark wants: a fleet would spread them over many carts.
        # One cart may fetch all that it wants, of the same version again and again.
        self.limits = replace(
            exchange_limits(settings),
            max_outgoing=2 * AT_ONCE,
            max_outgoing_per_peer=AT_ONCE,
            give_again_s=0.0,
            give_bytes_per_peer=0,
            give_bytes=0,
        )
        self.wanted = (SIGNATURE, (CODEC,))
        identity = Identity.generate()
        self.cart_id = identity.cart_id.hex()
        self.link = Link(
            BridgeSelection([url], settings.reconnect_first_s, settings.reconnect_cap_s, time.monotonic, time.time),
            identity,
            OPEN,
            None,
            settings.heartbeat_s,
            settings.connect_timeout_s,
        )
        self.link.announce(Standing(Role.SHELL, SIGNATURE, 1))
        self.exchange = Exchange(identity, OPEN, fastest_cipher(), self.link, Spool(folder), self)

    async def offer(self) -> Offerable:
        """Return the model."""
        return self._model

    async def fetch(self, peer: str, at_once: int, times: int) -> dict[str, Any]:
        """Fetch the peer's model ``times`` times in each of ``at_once`` streams; return the seconds and the bytes."""
        self.link.announce(Standing(Role.KERNEL, SIGNATURE, 1))
        cluster = await self.exchange.ask_cluster(size=16, minimum=1)

        taken = set()

        async def stream() -> int:
            moved = 0
            for _ in range(times):
                received = await self.exchange.fetch(peer, cluster.cluster_id)
                moved += received.offer.total_bytes
                # In a thread: the system needs a millisecond to free 25 MB, which is not part of the transfer.
                taken.add(asyncio.create_task(asyncio.to_thread(received.path.unlink)))
            return moved

        started = time.perf_counter()
        moved = sum(await asyncio.gather(*(stream() for _ in range(at_once))))
        seconds = time.perf_counter() - started
        await asyncio.gather(*taken)
        return {"seconds": seconds, "bytes": moved}


async def _serve(url: str, model_bytes: int, folder: Path) -> None:
    network = Network(url, model_bytes, folder)
    running = asyncio.create_task(network.link.run(network.exchange.home))
    await network.link.wait_attached()
    print(json.dumps({"id": network.cart_id}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await network.fetch(**json.loads(line))), flush=True)
    await network.exchange.close()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


class NetworkCart:
    """The benchmark's handle on such a process."""

    def __init__(self, port: int, model_bytes: int, host: str = "127.0.0.1") -> None:
        command = [sys.executable, __file__, f"ws://{host}:{port}", str(model_bytes)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process_id = self._process.pid
        self.id: str = self._hear()["id"]

    def fetch(self, peer: str, at_once: int, times: int) -> tuple[float, int]:
        """Make it fetch a peer's model; return the seconds and the bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"peer": peer, "at_once": at_once, "times": times}) + "\n")
        self._process.stdin.flush()
        answer = self._hear()
        return answer["seconds"], answer["bytes"]

    def __enter__(self) -> NetworkCart:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # it ends when its input ends

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a cart's process ended with status {self._process.wait()}; its error is printed above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """Run the cart that the arguments describe, until its input ends."""
    raise_malloc_thresholds()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(sys.argv[1], int(sys.argv[2]), Path(folder)))


if __name__ == "__main__":
    main()
