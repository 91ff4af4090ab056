"""Start the fleet, let simulated shoppers buy, show the learning, compare the models, and clean up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp
from rich.console import Console

from cart_common.process.errors import UserError
from cart_common.process.os_errors import error_words
from cart_common.process.settings import load
from cart_common.process.tasks import background, in_thread
from child_cart.model.partition import Partition
from child_cart.model.task import Row, Task, load_task

from .config import SELLING_TASK, DemoSettings, Plan, check, plan_for
from .fleet import Fleet, FleetError, PortTaken, check_ports
from .screen import Screen
from .shoppers import Shoppers
from .summary import measure, summary_table
from .watch import new_web

DESCRIPTION: Final = (
    "Run a bridge and some carts on this machine, with simulated shoppers, and watch the carts learn from each other."
)
CHECK_S: Final = 0.2
BRIDGE_LOOK_S: Final = 0.5
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Demo:
    """One run of the demo, from the first process to the last.

    Args:
        settings: the demo's settings.
        task: what the carts learn.
        folder: where logs and data are kept during the run.
        console: where the fleet is shown.

    Attributes:
        lost: whether a process ended before the demo stopped it.
    """

    def __init__(self, settings: DemoSettings, task: Task, folder: Path, console: Console) -> None:
        self._settings = settings
        self._task = task
        self._plan: Plan = plan_for(settings.task)
        self._folder = folder
        self._console = console
        self._fleet = Fleet(settings, self._plan, folder)
        self._screen = Screen(console, self._fleet, settings.rounds)
        self.lost = False

    async def run(self) -> None:
        """Run until all rounds have ended and the models are compared, or until cancelled; then stop all processes.

        Raises:
            FleetError: if the fleet cannot start or go on.
        """
        try:
            async with new_web() as web, background(self._screen.run()):
                await self._fleet.start(web)
                self._screen.note = "Each cart first trains on its starter rows; this takes some seconds."
                await self._learn(web)
        finally:
            self.lost = bool(self._fleet.lost)
            await self._fleet.stop()
        if self._settings.rounds:
            took_s = time.monotonic() - self._screen.since
            results = await measure(self._settings, self._plan, self._folder, self._console)
            self._console.print()
            self._console.print(summary_table(results, self._settings.task, took_s))

    async def _learn(self, web: aiohttp.ClientSession) -> None:
        """Let the shoppers buy until all rounds have ended."""
        rows_to_buy = await in_thread(self._rows_to_buy)
        may_buy = asyncio.Event()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(background(self._watch_bridge(web)))
            for cart, rows in zip(self._fleet.carts, rows_to_buy, strict=True):
                shoppers = Shoppers(
                    cart, self._fleet.carts, rows, self._settings.task == SELLING_TASK, self._settings.rounds
                )
                await stack.enter_async_context(background(shoppers.run(web, may_buy.is_set)))
            await self._until(self._all_prepared)
            self._screen.note = ""
            may_buy.set()
            await self._until(self._all_finished)

    def _rows_to_buy(self) -> list[list[Row]]:
        """Return the rows to buy at each cart: those of its partition that are not its starter rows."""
        carts = self._settings.carts
        starter = [self._task.starter_rows(Partition(index, carts)) for index in range(carts)]
        if not any(starter):
            self._console.print(f"The task {self._settings.task} has no starter rows: send rows to the carts yourself.")
        return [rows[self._plan.starter_rows :] or rows for rows in starter]

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait until ``reached`` returns True.

        Raises:
            FleetError: if all carts have ended.
        """
        while not reached():
            now = time.monotonic()
            carts = self._fleet.carts
            if all(cart.program.ending for cart in carts) and not any(cart.answers(now) for cart in carts):
                raise FleetError(f"All carts have ended. The last: {carts[-1].program.last_words()}")
            await asyncio.sleep(CHECK_S)

    def _all_prepared(self) -> bool:
        now = time.monotonic()
        return all(cart.is_prepared for cart in self._fleet.carts if cart.is_waited_for(now))

    def _all_finished(self) -> bool:
        now = time.monotonic()
        answering = [cart for cart in self._fleet.carts if cart.answers(now)]
        limit = self._settings.rounds
        return bool(limit and answering) and all(cart.rounds_ended >= limit for cart in answering)

    async def _watch_bridge(self, web: aiohttp.ClientSession) -> None:
        while True:
            await self._fleet.bridge.look(web)
            await asyncio.sleep(BRIDGE_LOOK_S)


async def run_until_signal(demo: Demo) -> signal.Signals | None:
    """Run the demo until it ends or a signal stops it; return the signal, or None."""
    received: list[signal.Signals] = []
    running = asyncio.ensure_future(demo.run())

    def take(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1:  # a second signal must not interrupt the cleanup
            running.cancel()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, take, number)
    try:
        await running
    except asyncio.CancelledError:
        if not received:
            raise
    return received[0] if received else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the process's exit status."""
    console = Console(highlight=False)
    try:
        settings = load(DemoSettings, "DEMO", sys.argv[1:] if argv is None else argv, os.environ, DESCRIPTION)
        check(settings)
        task = load_task(settings.task)
        check_ports(settings)
        folder = Path(settings.folder).resolve() if settings.folder else Path(tempfile.mkdtemp(prefix="carts-"))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (UserError, PortTaken) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"demo: The folder {error.filename} cannot be created: {error_words(error)}.", file=sys.stderr)
        return 2
    demo = Demo(settings, task, folder, console)
    status, keep = 1, True
    try:
        number = asyncio.run(run_until_signal(demo))
        keep = demo.lost
        status = 128 + number if number and settings.rounds else 0
    except (FleetError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
    finally:
        if keep or settings.folder:
            print(f"Logs and data are kept in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return status
