"""Shoppers for carts that run already: ``python -m demo.visit``, where the folder with the carts' slots can be read.

Each cart is sold to as in the demo, from the rows of its share. Carts may come and go; nobody waits for those that are
away.
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

from cart_common.process.settings import SettingError, load, option
from cart_common.process.tasks import in_thread
from child_cart.model.partition import Partition
from child_cart.model.task import Row, Task, TaskError, load_task
from containers.slot import HOLDER

from .config import SELLING_TASK, plan_for
from .shoppers import Shoppers
from .watch import CartView, Json, new_web

log = logging.getLogger("shoppers")

DESCRIPTION: Final = "Let shoppers buy at the carts of a fleet in containers, faster than life."
LOOK_S: Final = 2.0
MOST_NAME_BYTES: Final = 256


@dataclass(frozen=True)
class VisitSettings:
    """Where the carts are; also ``SHOPPERS_…`` in the environment."""

    folder: str = option("/data", "folder with the slots of all carts")
    port: int = option(5001, "port of each cart's pages", minimum=1, maximum=65535)
    task: str = option("shopping", "what the carts learn: shopping, digits, or your own class as package.module:Class")


@dataclass
class VisitedCart(CartView):
    """A cart among others that may have come sooner or later: its rounds are counted as if all had come together.

    Otherwise the others would be sold nothing until a new one has had as many rounds as they.
    """

    others: Sequence[CartView] = field(default=(), kw_only=True)
    ahead: int | None = field(default=None, kw_only=True)

    def take(self, status: Json, now: float) -> None:
        """Take note of a status."""
        own = int(status["rounds_ended"])
        if self.ahead is None or own + self.ahead < self.rounds_ended:  # new here, or its model was reset
            self.ahead = max((cart.rounds_ended for cart in self.others if cart.holds_up(now)), default=own) - own
        super().take({**status, "rounds_ended": own + self.ahead}, now)


def slots(folder: Path) -> Iterator[tuple[int, str]]:
    """Give the number of each slot, and the host whose cart has it, or had it last."""
    for slot in sorted(folder.glob("[0-9]*")):
        if slot.name.isdecimal():
            with suppress(OSError, UnicodeDecodeError), open(slot / HOLDER) as holder:
                host = holder.read(MOST_NAME_BYTES).strip()
                if host:
                    yield int(slot.name), host


async def address_of(host: str, port: int) -> str | None:
    """Return where the pages of a host are, by number, as these are asked for by no name; None if it is away."""
    try:
        (found, *_) = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # a ValueError for what can be no name
        return None
    number = str(found[4][0])
    return f"http://[{number}]:{port}" if ":" in number else f"http://{number}:{port}"


class ShopVisits:
    """The shoppers of all carts.

    Args:
        settings: where the carts are.
        task: what they learn.
        web: by which to visit them.
    """

    def __init__(self, settings: VisitSettings, task: Task, web: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._task = task
        self._web = web
        self._run_name = f"visit-{secrets.token_hex(6)}"
        self._fleet: list[VisitedCart] = []

    async def run(self) -> None:
        """Find carts and sell to each, for ever."""
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
                        known.url, known.ahead = url, None
                await asyncio.sleep(LOOK_S)

    async def _shop_at(self, cart: VisitedCart) -> None:
        while True:
            if await cart.look(self._web) and "share" in cart.status:  # said to those with its token only
                break
            await asyncio.sleep(LOOK_S)
        rows = await in_thread(self._rows_for, str(cart.status["share"]))
        sells = self._settings.task == SELLING_TASK
        shoppers = Shoppers(cart, self._fleet, rows, sells, 0, self._run_name)
        await shoppers.run(self._web, lambda: cart.is_prepared)

    def _rows_for(self, share: str) -> list[Row]:
        """Return the rows to buy at a cart: those of its share that it does not start from."""
        rows = self._task.starter_rows(Partition.parse(share))
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
    except (SettingError, TaskError) as error:
        print(f"shoppers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
