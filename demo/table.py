"""The fleet as a table for any terminal width, and as plain lines where there is no terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cart_common.process.number_words import byte_words

from .watch import BridgeView, CartView, Json, OwnCart

WIDE: Final = 132
MEDIUM: Final = 120
STAGE_COLOURS: Final = {
    "TRAINING": "yellow",
    "CLUSTERING": "magenta",
    "COLLECTING": "magenta",
    "AVERAGING": "cyan",
    "SERVING": "green",
}
NEWS_LINES: Final = 3


def fleet_table(
    bridge: BridgeView,
    carts: Sequence[OwnCart],
    limit: int,
    since: float,
    width: int,
    note: str = "",
    password: str = "",
) -> RenderableType:
    """Return the whole screen.

    Args:
        bridge: the view of the bridge.
        carts: the views of the carts.
        limit: number of rounds after which the demo ends; 0 for no limit.
        since: the monotonic time of the start.
        width: the terminal's width, in columns.
        note: what the demo itself does now, where the table does not show it.
        password: the password of the admin pages.
    """
    now = time.monotonic()
    table = Table(expand=True, box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("cart", no_wrap=True)
    table.add_column("page", no_wrap=True)
    table.add_column("doing", no_wrap=True, min_width=10)
    table.add_column("version" if width >= MEDIUM else "ver", justify="right", no_wrap=True)
    table.add_column("rounds" if width >= MEDIUM else "rnd", justify="right", no_wrap=True)
    table.add_column("accuracy" if width >= MEDIUM else "accur.", justify="right", no_wrap=True)
    table.add_column("waiting rows" if width >= MEDIUM else "rows", no_wrap=True, width=_bar_width(width) + 8)
    table.add_column("work", no_wrap=True, width=_bar_width(width) + 6)
    if width >= WIDE:
        table.add_column("last event", no_wrap=True, overflow="ellipsis", ratio=1)
    for cart in carts:
        table.add_row(*_cells(cart, limit, width, now))
    parts: list[RenderableType] = [_title(bridge, len(carts), since, now), Text(), table, Text()]
    if width < WIDE:
        parts += [*_news(carts), Text()]
    return Group(*parts, _hint(bridge, limit, note, password))


def _title(bridge: BridgeView, carts: int, since: float, now: float) -> Text:
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append("bridge ", style="bold")
    title.append(f"{bridge.url}/", style=f"bold blue link {bridge.url}/")
    if bridge.answers(now):
        title.append(f"   {bridge.carts} of {carts} carts attached   {byte_words(bridge.relayed_bytes)} relayed")
    elif bridge.program.ending:
        title.append(f"   gone: {bridge.program.last_words()}", style="red")
    else:
        title.append("   starting" if bridge.answered_at < 0 else "   does not answer", style="yellow")
    title.append(f"   {elapsed_words(now - since)}", style="dim")
    return title


def _cells(cart: OwnCart, limit: int, width: int, now: float) -> list[RenderableType]:
    status = cart.status
    name = Text(f"{cart.number} ", style="bold").append(status.get("cart_id", "")[:8], style="dim")
    port = cart.url.rpartition(":")[2]
    page = Text(f"{cart.url}/" if width >= MEDIUM else f":{port}", style=f"blue link {cart.url}/")
    is_here = cart.answers(now)
    model = status.get("model") or {}
    rounds = str(cart.rounds_ended) if status else ""
    cells: list[RenderableType] = [
        name,
        page,
        _doing(cart, is_here),
        str(model.get("number", "")),
        f"{rounds}/{limit}" if limit and rounds else rounds,
        _accuracy(cart, model),
        _waiting(status, width) if is_here else "",
        _work(status, width) if is_here else "",
    ]
    if width >= WIDE:
        cells.append(_event(cart, is_here))
    return cells


def _doing(cart: OwnCart, is_here: bool) -> Text:
    if not is_here:
        if cart.program.ending:
            return Text("gone", style="red")
        return Text("starting" if not cart.status else "silent", style="yellow")
    stage = str(cart.status["stage"])
    role = str(cart.status["role"])
    text = Text(f"{role} ", style="bold magenta" if role == "KERNEL" else "dim")
    text.append(stage.lower(), style=STAGE_COLOURS.get(stage, "blue"))
    if cart.status["link"]["state"] != "ATTACHED" and stage not in ("PREPARING", "JOINING"):
        text.append(" no bridge", style="red")
    return text


def _accuracy(cart: CartView, model: Json) -> Text:
    if not model or not model["number"]:
        return Text("")
    text, before = Text(f"{model['accuracy']:.3f}"), cart.earlier_accuracy
    if before is None or abs(model["accuracy"] - before) < 0.0005:
        return text.append("  ")
    return text.append(" ↑", style="green") if model["accuracy"] > before else text.append(" ↓", style="red")


def _bar_width(width: int) -> int:
    return 10 if width >= MEDIUM else 6


def _bar(done: float, total: float, words: str, style: str, width: int) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_bar_width(width))
    grid.add_column(no_wrap=True)
    bar = ProgressBar(total=max(total, 1), completed=min(done, total), complete_style=style, finished_style=style)
    grid.add_row(bar, Text(words, style="dim"))
    return grid


def _waiting(status: Json, width: int) -> RenderableType:
    waiting, size = status["rows"]["waiting"], status["rows"]["dataset_size"]
    return _bar(waiting, size, f"{waiting}/{size}", "green", width)


def _work(status: Json, width: int) -> RenderableType:
    epoch = status["epoch"]
    if epoch is not None:
        return _bar(epoch["epoch"], epoch["epochs"], f"{epoch['epoch']}/{epoch['epochs']}", "yellow", width)
    moving = [view for view in status["transfers"] if view["ended_at"] is None]
    if moving:
        total, moved = sum(view["total_bytes"] for view in moving), sum(view["moved_bytes"] for view in moving)
        return _bar(moved, total, f"{100 * moved // max(total, 1)} %", "magenta", width)
    return ""


def _event(cart: OwnCart, is_here: bool) -> Text:
    if not is_here and (cart.program.ending or cart.status):
        return Text(cart.program.last_words(), style="red", no_wrap=True, overflow="ellipsis")
    if cart.trouble:
        return Text(cart.trouble, style="red", no_wrap=True, overflow="ellipsis")
    events = cart.status.get("events") or []
    return Text(events[0]["text"] if events else "", no_wrap=True, overflow="ellipsis")


def _news(carts: Sequence[OwnCart]) -> list[Text]:
    """Return the newest events of all carts, for a table that is too narrow to show them."""
    now = time.monotonic()
    lines = [
        Text(f"cart {cart.number} ", no_wrap=True, overflow="ellipsis").append_text(_event(cart, False))
        for cart in carts
        if cart.program.ending and not cart.answers(now)
    ]
    events = sorted(
        ((event["at"], cart.number, event["text"]) for cart in carts for event in cart.status.get("events", [])),
        reverse=True,
    )
    for _, number, text in events[:NEWS_LINES]:
        lines.append(Text(f"cart {number} ", style="dim", no_wrap=True, overflow="ellipsis").append(text, style=""))
    return lines


def _hint(bridge: BridgeView, limit: int, note: str, password: str) -> Text:
    text = Text(style="dim")
    if note:
        return text.append(note)
    ending = f"ends after {limit} round{'s' if limit > 1 else ''}, or with Ctrl-C" if limit else "Ctrl-C ends it"
    text.append(f"Open the page addresses in a browser (bridge: {bridge.url}/); {ending}.")
    return text.append(f" Admin pages: password {password}") if password else text


def elapsed_words(seconds: float) -> str:
    """Return a duration as minutes and seconds: ``1:05``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class PlainLines:
    """The run as lines for a log: each event once, and the end of each process once."""

    def __init__(self) -> None:
        self._told_at: dict[int, float] = {}
        self._told_ends: set[str] = set()

    def news(self, bridge: BridgeView, carts: Sequence[OwnCart]) -> Iterator[str]:
        """Give what is new since the last call, oldest first."""
        events = sorted(
            (event["at"], cart.number, event["text"])
            for cart in carts
            for event in cart.status.get("events", [])
            if event["at"] > self._told_at.get(cart.number, 0.0)
        )
        for at, number, text in events:
            self._told_at[number] = at
            yield f"cart {number}: {one_line(text)}"
        for program in (bridge.program, *(cart.program for cart in carts)):
            if program.ending and program.name not in self._told_ends:
                self._told_ends.add(program.name)
                yield f"{program.name} {program.last_words()}"


def one_line(text: str) -> str:
    """Return the text with each run of white space as one space."""
    return re.sub(r"\s+", " ", text).strip()
