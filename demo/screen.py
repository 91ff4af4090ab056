"""Show the fleet: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.live import Live

from .fleet import Fleet
from .plain_lines import PlainLines
from .table import ScreenContents, elapsed_words, fleet_table

REFRESH_S: Final = 0.25
STOPPING: Final = "Stopping the carts."


class Screen:
    """What a person sees while the demo runs.

    Args:
        console: where it is shown.
        fleet: what is shown.
        limit: number of rounds after which the demo ends; 0 for no limit.
        points: what was measured after each round, by the round.

    Attributes:
        since: the monotonic time of the start.
        is_starting: whether carts still get ready for their first round.
        trouble: why nothing more is measured, as a sentence; empty if all is well.
        has_failed: whether the fleet is no longer shown, because of an error in the program.
    """

    def __init__(self, console: Console, fleet: Fleet, limit: int, points: Mapping[int, dict[str, Any]]) -> None:
        self._console = console
        self._fleet = fleet
        self._limit = limit
        self._points = points
        self.since = time.monotonic()
        self.is_starting = True
        self.trouble = ""
        self.has_failed = False

    async def run(self) -> None:
        """Show the fleet until cancelled, or until the terminal is closed."""
        try:
            with suppress(OSError):  # the terminal is closed; SIGHUP may end the demo
                if self._console.is_terminal:
                    await self._live()
                else:
                    await self._lines()
        except Exception:
            self.has_failed = True
            raise

    async def _live(self) -> None:
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
            try:
                while True:
                    live.update(self._table(), refresh=True)
                    await asyncio.sleep(REFRESH_S)
            finally:
                live.update(self._table(STOPPING), refresh=True)

    def _table(self, note: str = "") -> RenderableType:
        fleet = self._fleet
        contents = ScreenContents(
            self._console.width,
            self._console.height,
            self._limit,
            self.since,
            list(self._points.values()),
            self.is_starting,
            self.trouble,
            note,
            fleet.password,
        )
        return fleet_table(fleet.bridge, fleet.carts, contents)

    async def _lines(self) -> None:
        lines = PlainLines()
        self._say(f"bridge at {self._fleet.bridge.url}/")
        for cart in self._fleet.carts:
            self._say(f"cart {cart.number} at {cart.url}/")
        self._say(f"password of the admin pages in {self._fleet.password_file}")
        try:
            while True:
                self._say_all(lines)
                await asyncio.sleep(REFRESH_S)
        finally:
            self._say_all(lines)
            self._say(STOPPING)

    def _say_all(self, lines: PlainLines) -> None:
        for line in lines.news(self._fleet.bridge, self._fleet.carts, list(self._points.values()), self.trouble):
            self._say(line)

    def _say(self, line: str) -> None:
        clock = elapsed_words(time.monotonic() - self.since)
        self._console.print(f"{clock:>5}  {line}", soft_wrap=True, markup=False, highlight=False)
