"""What honest peers get of a cart while other key pairs hold its places.

A cart with default limits gives a model; so many key pairs ask for it twice each and grant no credit. Meanwhile honest
carts fetch it, one after the other, each once. Prints how many were served and how long they took, with no hostile key
pair and with many; and how often one key pair gets the same version in some seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import bridge_process
from benchmarks.network_cart import SIGNATURE, Network
from cart_common.process.tasks import background
from cart_common.wire.messages import Credit, Message, Role
from child_cart.config import CartSettings, exchange_limits
from child_cart.network.handshake import Standing
from child_cart.transfers.assembly import TransferError


async def joined(stack: AsyncExitStack, port: int, folder: Path, model_bytes: int, role: Role) -> Network:
    """Attach a cart with default limits."""
    network = Network(f"ws://127.0.0.1:{port}", model_bytes, folder / str(time.monotonic_ns()))
    network.limits = exchange_limits(CartSettings())
    network.link.announce(Standing(role, SIGNATURE, int(role is Role.SHELL)))
    await stack.enter_async_context(background(network.link.run(network.exchange.home)))
    await network.link.wait_attached()
    return network


async def fetch(network: Network, giver: str) -> bool:
    """Fetch a model; tell whether it came."""
    cluster = await network.exchange.ask_cluster(size=1, minimum=1)
    try:
        (await network.exchange.fetch(giver, cluster.cluster_id)).path.unlink()
    except TransferError:
        return False
    return True


async def hold(network: Network, giver: str) -> None:
    """Ask for a model twice, and grant no credit."""
    send = network.link.send

    def pass_on(message: Message) -> None:
        if not isinstance(message, Credit):
            send(message)

    network.link.send = pass_on  # type: ignore[method-assign]
    cluster = await network.exchange.ask_cluster(size=1, minimum=1)
    fetches = (network.exchange.fetch(giver, cluster.cluster_id) for _ in range(2))
    await asyncio.gather(*fetches, return_exceptions=True)


async def row(hostile: int, honest: int, model_bytes: int, folder: Path) -> str:
    """Measure with this many hostile key pairs."""
    async with AsyncExitStack() as stack:
        _, port = stack.enter_context(bridge_process())
        giver = await joined(stack, port, folder, model_bytes, Role.SHELL)
        for _ in range(hostile):
            network = await joined(stack, port, folder, 1, Role.KERNEL)
            await stack.enter_async_context(background(hold(network, giver.cart_id)))
        await asyncio.sleep(0.5)
        times_s = []
        for _ in range(honest):
            network = await joined(stack, port, folder, 1, Role.KERNEL)
            started = time.perf_counter()
            if await fetch(network, giver.cart_id):
                times_s.append(time.perf_counter() - started)
    median = f"{statistics.median(times_s) * 1000:.1f}" if times_s else "-"
    return f"{hostile:>8} {len(times_s):>4} of {honest} {median:>10}"


async def copies(seconds: float, model_bytes: int, folder: Path) -> int:
    """Return how often one key pair gets the same version."""
    got = 0
    async with AsyncExitStack() as stack:
        _, port = stack.enter_context(bridge_process())
        giver = await joined(stack, port, folder, model_bytes, Role.SHELL)
        greedy = await joined(stack, port, folder, 1, Role.KERNEL)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    got += await fetch(greedy, giver.cart_id)
                    await asyncio.sleep(0.05)
    return got


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hostile", default="0,8,64", help="numbers of hostile key pairs, separated by commas")
    parser.add_argument("--honest", type=int, default=20, help="how many honest carts fetch")
    parser.add_argument("--kilobytes", type=int, default=536, help="size of the model")
    parser.add_argument("--seconds", type=float, default=10, help="for how long one key pair asks again and again")
    options = parser.parse_args()
    size = options.kilobytes * 1000
    with tempfile.TemporaryDirectory() as folder:
        print(" hostile    served  median ms")
        for hostile in map(int, options.hostile.split(",")):
            print(asyncio.run(row(hostile, options.honest, size, Path(folder))), flush=True)
        got = asyncio.run(copies(options.seconds, size, Path(folder)))
        print(f"one key pair got the same version {got} times in {options.seconds:g} s")


if __name__ == "__main__":
    main()
