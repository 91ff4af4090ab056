"""Show the fleet: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

from .fleet import Fleet
from .table import PlainLines, elapsed_words, fleet_table

REFRESH_S: Final = 0.25


class Screen:
    """What a person sees while the demo runs.

    Attributes:
        since: the monotonic time of the start.
        note: what the demo itself does now, where the table does not show it.
    """

    def __init__(self, console: Console, fleet: Fleet, limit: int) -> None:
        self._console = console
        self._fleet = fleet
        self._limit = limit
        self.since = time.monotonic()
        self.note = "The bridge and the carts are starting."

    async def run(self) -> None:
        """Show the fleet until cancelled, or until the terminal is closed."""
        with suppress(OSError):  # the terminal is closed; SIGHUP may end the demo
            if self._console.is_terminal:
                await self._live()
            else:
                await self._lines()

    async def _live(self) -> None:
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
            try:
                while True:
                    live.update(self._table(), refresh=True)
                    await asyncio.sleep(REFRESH_S)
            finally:
                self.note = self.note or "Stopping."
                live.update(self._table(), refresh=True)

    def _table(self) -> RenderableType:
        fleet = self._fleet
        width = self._console.width
        return fleet_table(fleet.bridge, fleet.carts, self._limit, self.since, width, self.note, fleet.password)

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

    def _say_all(self, lines: PlainLines) -> None:
        for line in lines.news(self._fleet.bridge, self._fleet.carts):
            self._say(line)

    def _say(self, line: str) -> None:
        clock = elapsed_words(time.monotonic() - self.since)
        self._console.print(f"{clock:>5}  {line}", soft_wrap=True, markup=False, highlight=False)
