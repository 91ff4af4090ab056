"""Simulated shoppers for carts that already run: ``python -m demo.visit``, with access to the carts' slots.

They buy at each cart as in the demo, from the rows of its partition. Carts may come and go; no cart waits for one that
is away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from cart_common.process.addresses import host_and_port
from cart_common.process.errors import UserError
from cart_common.process.settings import load, option
from cart_common.process.tasks import in_thread
from child_cart.model.partition import Partition
from child_cart.model.task import Row, Task, load_task
from containers.slot import HOLDER

from .config import SELLING_TASK, plan_for
from .shoppers import Shoppers
from .watch import CartView, Json, new_web

log = logging.getLogger("shoppers")

DESCRIPTION: Final = "Let simulated shoppers buy at the carts of a fleet in containers."
LOOK_S: Final = 2.0
MOST_NAME_BYTES: Final = 256


@dataclass(frozen=True)
class VisitSettings:
    """Where the carts are; in the environment the settings are named ``SHOPPERS_…``."""

    folder: str = option("/data", "folder with the slots of all carts")
    port: int = option(5001, "port of each cart's pages", minimum=1, maximum=65535)
    task: str = option("shopping", "what the carts learn: shopping, digits, or your own class as package.module:Class")


@dataclass
class VisitedCart(CartView):
    """A cart whose rounds are counted as if all carts had started together.

    Otherwise the shoppers would buy nothing at the others until a new cart has had as many rounds.

    Attributes:
        others: the views of all carts.
        rounds_missed: what is added to the cart's own number of rounds; None before its first status.
    """

    others: Sequence[CartView] = field(default=(), kw_only=True)
    rounds_missed: int | None = field(default=None, kw_only=True)

    def take(self, status: Json, now: float) -> None:
        """Record a status."""
        own = int(status["rounds_ended"])
        if self.rounds_missed is None or own + self.rounds_missed < self.rounds_ended:  # new, or its model was reset
            waited_for = (cart.rounds_ended for cart in self.others if cart.is_waited_for(now))
            self.rounds_missed = max(waited_for, default=own) - own
        super().take({**status, "rounds_ended": own + self.rounds_missed}, now)


def slots(folder: Path) -> Iterator[tuple[int, str]]:
    """Give the number of each slot, and the host whose cart holds it or held it last."""
    for slot in sorted(folder.glob("[0-9]*")):
        if slot.name.isdecimal():
            with suppress(OSError, UnicodeDecodeError), open(slot / HOLDER) as holder:
                host = holder.read(MOST_NAME_BYTES).strip()
                if host:
                    yield int(slot.name), host


async def address_of(host: str, port: int) -> str | None:
    """Return the URL of a host's pages, with its IP address because carts reject unknown names; None if it is away."""
    try:
        (found, *_) = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # a ValueError if the text cannot be a name
        return None
    return f"http://{host_and_port(str(found[4][0]), port)}"


class ShopVisits:
    """The simulated shoppers of all carts.

    Args:
        settings: where the carts are.
        task: what the carts learn.
        web: the HTTP client to use.
    """

    def __init__(self, settings: VisitSettings, task: Task, web: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._task = task
        self._web = web
        self._run_name = f"visit-{secrets.token_hex(6)}"
        self._fleet: list[VisitedCart] = []

    async def run(self) -> None:
        """Find carts and buy at each, until cancelled."""
        folder = Path(self._settings.folder)
        async with asyncio.TaskGroup() as group:
            while True:
                for number, host in await in_thread(lambda: list(slots(folder))):
                    url = await address_of(host, self._settings.port)
                    known = next((cart for cart in self._fleet if cart.number == number), None)
                    if url and known is None:
                        log.info("cart %d is at %s", number, url)
                        cart = VisitedCart(number, url, folder / str(number), others=self._fleet)
                        self._fleet.append(cart)
                        group.create_task(self._shop_at(cart))
                    elif url and known is not None and known.url != url:
                        log.info("cart %d is now at %s", number, url)
                        known.url, known.rounds_missed = url, None
                await asyncio.sleep(LOOK_S)

    async def _shop_at(self, cart: VisitedCart) -> None:
        while True:
            if await cart.look(self._web):
                break
            await asyncio.sleep(LOOK_S)
        rows = await in_thread(self._rows_for, str(cart.status["share"]))
        sells = self._settings.task == SELLING_TASK
        shoppers = Shoppers(cart, self._fleet, rows, sells, 0, self._run_name)
        await shoppers.run(self._web, lambda: cart.is_prepared)

    def _rows_for(self, partition: str) -> list[Row]:
        """Return the rows to buy at a cart: those of its partition that are not its starter rows."""
        rows = self._task.starter_rows(Partition.parse(partition))
        return rows[plan_for(self._settings.task).starter_rows :] or rows


async def visit(settings: VisitSettings, task: Task) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with new_web() as web, asyncio.TaskGroup() as group:
        visits = group.create_task(ShopVisits(settings, task, web).run())
        await stop.wait()
        visits.cancel()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the process's exit status."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = load(VisitSettings, "SHOPPERS", sys.argv[1:] if argv is None else argv, os.environ, DESCRIPTION)
        asyncio.run(visit(settings, load_task(settings.task)))
    except UserError as error:
        print(f"shoppers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
