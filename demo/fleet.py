"""The bridge and the carts of a demo: their command lines and ports, and their start and stop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from cart_common.process.atomic_files import write_whole
from child_cart.api.access.account import new_password

from .config import MOST_CLUSTER, DemoSettings, Plan
from .own_rows import starter_file
from .processes import ROOT, Program, last_line, stop_all
from .watch import BridgeView, OwnCart

HOST: Final = "127.0.0.1"
START_S: Final = 60.0
LOOK_S: Final = 0.1


class FleetError(Exception):
    """The fleet cannot start or go on; the message says why, in a sentence."""


class PortTaken(FleetError):
    """Another process uses a port that the demo needs."""


class Fleet:
    """The processes of a demo, and what the demo sees of them.

    Args:
        settings: the demo's settings.
        plan: the settings of the task's carts.
        folder: where each process's log and each cart's data are kept.
    """

    def __init__(self, settings: DemoSettings, plan: Plan, folder: Path) -> None:
        self.password = new_password()
        self.password_file = password_file(folder)
        self.bridge = BridgeView(
            f"http://{HOST}:{settings.bridge_port}",
            Program("The bridge", bridge_arguments(settings), folder / "bridge.log"),
        )
        self.carts = [
            OwnCart(
                number,
                f"http://{HOST}:{port}",
                cart_folder(folder, number),
                program=Program(
                    f"Cart {number}", cart_arguments(settings, plan, number, folder), folder / f"cart-{number}.log"
                ),
            )
            for number, port in enumerate(settings.page_ports, 1)
        ]

    async def start(self, web: aiohttp.ClientSession) -> None:
        """Start the bridge, then the carts, and wait until each answers.

        Raises:
            FleetError: if one of them ends or does not answer, with the last line of its log.
        """
        write_whole(self.password_file, self.password.encode())
        await self.bridge.program.start()
        await _answering(self.bridge, web)
        for cart in self.carts:
            await cart.program.start()
        await asyncio.gather(*(_answering(cart, web) for cart in self.carts))

    async def stop(self) -> None:
        """Stop all processes. The carts get the signal first, so that they can still detach from the bridge."""
        await stop_all([*(cart.program for cart in self.carts), self.bridge.program])

    @property
    def lost(self) -> list[Program]:
        """The processes that have ended before the demo stopped them."""
        programs = [self.bridge.program, *(cart.program for cart in self.carts)]
        return [program for program in programs if program.ending]


async def _answering(view: BridgeView | OwnCart, web: aiohttp.ClientSession) -> None:
    give_up_at = time.monotonic() + START_S
    while not await view.look(web):
        ending = view.program.ending or ("" if time.monotonic() < give_up_at else f"did not answer in {START_S:g} s")
        if ending:
            words = last_line(view.program.log) or "(empty)"
            raise FleetError(f"{view.program.name} {ending}. The last line of its log: {words}")
        await asyncio.sleep(LOOK_S)


def bridge_arguments(settings: DemoSettings) -> list[str]:
    """Return the bridge's command line, after the interpreter."""
    return [str(ROOT / "parent_cart/main.py"), "--host", HOST, "--port", str(settings.bridge_port)]


def cart_arguments(settings: DemoSettings, plan: Plan, number: int, folder: Path) -> list[str]:
    """Return the command line of cart ``number``, counted from 1, after the interpreter."""
    flags: dict[str, object] = {
        "bridge": f"ws://{HOST}:{settings.bridge_port}",
        "host": HOST,
        "port": settings.first_page_port + number - 1,
        "data-dir": cart_folder(folder, number),
        "admin-password-file": password_file(folder),
        "task": settings.task,
        "share": f"{number}/{settings.carts}",
        "starter-rows": plan.starter_rows,
        "dataset-size": plan.dataset_size,
        "cluster-size": min(settings.carts - 1, MOST_CLUSTER),
        "min-peers": 1,
    }
    if settings.data:
        flags["data"] = starter_file(folder, number)
    return [
        str(ROOT / "child_cart/main.py"),
        *(word for name, value in flags.items() for word in (f"--{name}", str(value))),
    ]


def password_file(folder: Path) -> Path:
    """Return the file that holds the password of all admin pages."""
    return folder / "admin-password"


def cart_folder(folder: Path, number: int) -> Path:
    """Return the data folder of a cart."""
    return folder / f"cart-{number}"


def check_ports(settings: DemoSettings) -> None:
    """Check that every port of the fleet is free.

    Raises:
        PortTaken: for the first port that is not free, with the setting to change.
    """
    if not is_free(settings.bridge_port):
        raise PortTaken(
            f"Port {settings.bridge_port}, for the bridge, is in use. Stop the program there, or choose another port: "
            f"make run PORT={free_stretch(settings.bridge_port + 1, 1, settings.page_ports)}"
        )
    for number, port in enumerate(settings.page_ports, 1):
        if not is_free(port):
            start = free_stretch(port + 1, settings.carts, [settings.bridge_port])
            raise PortTaken(
                f"Port {port}, for the pages of cart {number}, is in use. Stop the program there, or choose other "
                f"ports: make run PAGES={start}"
            )


def is_free(port: int) -> bool:
    """Return whether a server can listen on the port."""
    with socket.socket() as probe:
        # As the servers do, so that connections of an earlier run that still close do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_stretch(start: int, length: int, others: Sequence[int]) -> int:
    """Return the first port, from ``start`` on, of ``length`` consecutive free ports that are not in ``others``."""
    for first in range(start, 65537 - length):
        stretch = range(first, first + length)
        if all(port not in others and is_free(port) for port in stretch):
            return first
    return start
