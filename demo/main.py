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
from datetime import datetime
from pathlib import Path
from typing import Final

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from cart_common.process.errors import UserError
from cart_common.process.os_errors import error_words
from cart_common.process.settings import load
from cart_common.process.tasks import background, in_thread
from child_cart.model.task import Row, load_task

from .config import SELLING_TASK, DemoSettings, check, plan_for
from .curve import plain_line
from .fleet import Fleet, FleetError, check_ports
from .measuring import Measuring
from .own_rows import rows_to_buy
from .screen import Screen
from .shoppers import Shoppers
from .signals import Signals
from .summary import save, summary_table
from .watch import new_web

DESCRIPTION: Final = (
    "Run a bridge and some carts on this machine, with simulated shoppers, and watch the carts learn from each other."
)
CHECK_S: Final = 0.2
BRIDGE_LOOK_S: Final = 0.5
NOTHING_TO_COMPARE: Final = "No round has ended, so there is no summary."
WITHOUT_SUMMARY: Final = "Ended without the summary."
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Demo:
    """One run of the demo, from the first process to the last.

    Args:
        settings: the demo's settings.
        rows: the rows that the shoppers bring to each cart.
        folder: where logs and data are kept during the run.
        console: where the fleet is shown.

    Attributes:
        lost: whether a process ended before the demo stopped it.
    """

    def __init__(self, settings: DemoSettings, rows: list[list[Row]], folder: Path, console: Console) -> None:
        self._settings = settings
        self._rows = rows
        self._data = str(Path(settings.data).resolve()) if settings.data else ""
        self._results = Path(settings.results).resolve()
        self._console = console
        plan = plan_for(settings.task)
        self._fleet = Fleet(settings, plan, folder)
        self._measuring = Measuring(settings, plan, folder)
        self._screen = Screen(console, self._fleet, settings.rounds, self._measuring.points)
        self.lost = False

    async def run(self, signals: Signals) -> None:
        """Run until all rounds have ended, or until a signal; then stop all processes, and compare the models.

        Raises:
            FleetError: if the fleet cannot start or go on, or the models cannot be compared.
            OSError: if the summary cannot be saved.
        """
        async with self._measuring:
            await signals.run(self._start_and_learn())
            took_s = time.monotonic() - self._screen.since
            if not signals.allow_summary:
                if signal.SIGHUP not in signals.received:  # nobody reads what a closed terminal shows
                    self._console.print(WITHOUT_SUMMARY)
            elif not self._measuring.has_started:
                self._console.print(NOTHING_TO_COMPARE)
            elif not await signals.run(self._compare(took_s)):
                self._console.print(WITHOUT_SUMMARY)

    async def _start_and_learn(self) -> None:
        """Run the fleet until all rounds have ended, or until cancelled; then stop it."""
        try:
            async with new_web() as web, background(self._screen.run()):
                await self._fleet.start(web)
                await self._learn(web)
        finally:
            self._endings = {cart.number: cart.program.ending for cart in self._fleet.carts}
            self.lost = bool(self._fleet.lost)
            await self._fleet.stop()

    async def _learn(self, web: aiohttp.ClientSession) -> None:
        """Let the shoppers buy until all rounds have ended."""
        may_buy = asyncio.Event()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(background(self._watch_bridge(web)))
            await stack.enter_async_context(background(self._measure_each_round()))
            for cart, rows in zip(self._fleet.carts, self._rows, strict=True):
                shoppers = Shoppers(
                    cart, self._fleet.carts, rows, self._settings.task == SELLING_TASK, self._settings.rounds
                )
                await stack.enter_async_context(background(shoppers.run(web, may_buy.is_set)))
            await self._until(self._all_prepared)
            self._screen.is_starting = False
            may_buy.set()
            await self._until(self._all_finished)

    async def _measure_each_round(self) -> None:
        """Measure the carts after the starter rows, and after each round that all of them have ended."""
        try:
            await self._measuring.start()
            while True:
                now = time.monotonic()
                carts = [cart for cart in self._fleet.carts if cart.is_waited_for(now)]
                ended = min((cart.rounds_ended for cart in carts), default=0)
                if carts and self._all_prepared() and ended > self._measuring.newest_round:
                    await self._measuring.measure([cart.number for cart in carts])
                await asyncio.sleep(CHECK_S)
        except FleetError as error:
            self._screen.trouble = str(error)

    async def _compare(self, took_s: float) -> None:
        """Show and save what the carts have learned."""
        shown_round = self._measuring.newest_round
        living = [number for number, ending in self._endings.items() if not ending] or list(self._endings)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as shown:
            task = shown.add_task("Comparing the models (Ctrl-C ends without the summary)", total=None)
            results = await self._measuring.results(living, lambda n, of: shown.update(task, completed=n, total=of))
        if not any(cart["rounds"] for cart in results["carts"]):
            self._console.print(NOTHING_TO_COMPARE)
            return
        if self._measuring.newest_round > shown_round:
            self._console.print(plain_line(self._measuring.points[self._measuring.newest_round]))
        for cart in results["carts"]:
            cart["ending"] = self._endings[cart["number"]]
        summary = {
            "task": self._settings.task,
            "data": self._data,
            "written_at": datetime.now().astimezone().isoformat(timespec="seconds"),
            "took_s": round(took_s, 1),
            **results,
            "rounds": list(self._measuring.points.values()),
        }
        self._console.print()
        self._console.print(summary_table(summary))
        page = await in_thread(save, summary, self._results)
        self._console.print(f"Saved as {page} and .json", soft_wrap=True, markup=False)

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait until ``reached`` returns True.

        Raises:
            FleetError: if all carts have ended, or nobody sees them any more.
        """
        while not reached():
            if self._screen.has_failed:  # its own error replaces this one
                raise FleetError("The fleet is no longer shown.")
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
    """Run the demo until it ends or signals stop it; return the first signal, or None."""
    signals = Signals()
    signals.listen(SIGNALS)
    await demo.run(signals)
    return signals.received[0] if signals.received else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the process's exit status."""
    console = Console(highlight=False)
    folder, status, keep = None, 2, True
    try:
        settings = load(DemoSettings, "DEMO", sys.argv[1:] if argv is None else argv, os.environ, DESCRIPTION)
        check(settings)
        task = load_task(settings.task)
        check_ports(settings)
        folder = Path(settings.folder).resolve() if settings.folder else Path(tempfile.mkdtemp(prefix="carts-"))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keep = False
        demo = Demo(settings, rows_to_buy(settings, plan_for(settings.task), task, folder), folder, console)
        status, keep = 1, True
        number = asyncio.run(run_until_signal(demo))
        keep = demo.lost
        status = 128 + number if number and settings.rounds else 0
    except (UserError, FleetError) as error:
        print(f"demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:  # before the run takes signals itself
        status = 128 + signal.SIGINT
    except OSError as error:
        print(f"demo: {error.filename or 'A file'} cannot be written: {error_words(error)}.", file=sys.stderr)
    finally:
        if folder is not None and (keep or settings.folder):
            print(f"Logs and data are kept in {folder}", file=sys.stderr)
        elif folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    return status
