"""The fleet as a table for any size of terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cart_common.process.number_words import byte_words
from child_cart.model.metric import Metric

from .curve import figure, learning_caption, learning_line
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
OTHER_LINES: Final = 10
"""The lines that the screen needs beside carts and news."""
BAR_COLUMNS: Final = 60


@dataclass(frozen=True)
class ScreenContents:
    """What the screen shows beside the fleet.

    Attributes:
        width: of the terminal, in columns.
        height: of the terminal, in lines.
        limit: number of rounds after which the demo ends; 0 for no limit.
        since: the monotonic time of the start.
        points: what was measured after each round, oldest first.
        is_starting: whether carts still get ready for their first round.
        trouble: why nothing more is measured, as a sentence.
        note: what the demo itself does now, instead of the hint.
        password: the password of the admin pages.
    """

    width: int
    height: int
    limit: int
    since: float
    points: Sequence[Json] = ()
    is_starting: bool = False
    trouble: str = ""
    note: str = ""
    password: str = ""


def fleet_table(bridge: BridgeView, carts: Sequence[OwnCart], contents: ScreenContents) -> RenderableType:
    """Return the whole screen; carts that do not fit are counted below the others."""
    now, width = time.monotonic(), contents.width
    is_medium = width >= MEDIUM
    table = Table(expand=True, box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.collapse_padding = not is_medium
    table.add_column("cart", no_wrap=True, min_width=10)
    table.add_column("page", no_wrap=True, min_width=6)
    table.add_column("doing", no_wrap=True, min_width=10)
    table.add_column("version" if is_medium else "ver", justify="right", no_wrap=True, min_width=3)
    table.add_column("rounds" if is_medium else "rnd", justify="right", no_wrap=True, min_width=3)
    table.add_column("measured" if is_medium else "meas.", justify="right", no_wrap=True, min_width=7)
    table.add_column("waiting rows" if is_medium else "rows", no_wrap=True, width=_bar_width(width) + 8)
    table.add_column("work", no_wrap=True, width=_bar_width(width) + 6)
    if width >= WIDE:
        table.add_column("last event", no_wrap=True, overflow="ellipsis", ratio=1)
    fit = contents.height - OTHER_LINES - (0 if width >= WIDE else NEWS_LINES + 1)
    shown = carts if len(carts) <= fit else carts[: max(1, fit - 1)]
    for cart in shown:
        table.add_row(*_cells(cart, contents.limit, width, now))
    parts: list[RenderableType] = [_title(bridge, len(carts), contents.since, now), *_learning(bridge, carts, contents)]
    parts += [Text(), table]
    if len(shown) < len(carts):
        parts.append(Text(f"and {len(carts) - len(shown)} more carts; a higher window shows them", style="dim"))
    parts.append(Text())
    if width < WIDE:
        parts += [*_news(carts), Text()]
    return Group(*parts, _hint(bridge, contents))


def _learning(bridge: BridgeView, carts: Sequence[OwnCart], contents: ScreenContents) -> list[RenderableType]:
    """Return two lines: how far the carts are with their start, or what they have learned so far."""
    if contents.is_starting:
        return starting_bar(carts, contents.width)
    if contents.trouble:
        return [Text("Nothing more is measured.", style="red"), _one_line(contents.trouble)]
    if not contents.points:
        return [Text("The models are measured for the first time.", style="dim"), Text()]
    return [Text(learning_caption(contents.points), style="dim"), learning_line(contents.points, contents.width)]


def starting_bar(carts: Sequence[OwnCart], width: int) -> list[RenderableType]:
    """Return a bar over the three steps of each cart's start, and how many carts have made each of them."""
    answer = sum(bool(cart.status) for cart in carts)
    attached = sum(is_attached(cart) for cart in carts)
    ready = sum(cart.is_prepared for cart in carts)
    words = f"Starting {len(carts)} carts: {answer} answer, {attached} attached, {ready} trained on their starter rows"
    bar = ProgressBar(3 * len(carts), answer + attached + ready, width=min(width, BAR_COLUMNS), complete_style="green")
    return [Text(words, no_wrap=True, overflow="ellipsis"), bar]


def is_attached(cart: CartView) -> bool:
    """Return whether the cart is attached to its bridge."""
    return bool(cart.status) and cart.status["link"]["state"] == "ATTACHED"


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
        _measured(cart, model),
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
    if not is_attached(cart) and stage not in ("PREPARING", "JOINING"):
        text.append(" no bridge", style="red")
    return text


def _measured(cart: CartView, model: Json) -> Text:
    value = model["value"] if model else None
    if value is None:
        return Text("")
    text, before = Text(figure(value)), cart.earlier_value
    if before is None or figure(before) == figure(value):
        return text.append("  ")
    arrow = " ↑" if value > before else " ↓"
    return text.append(arrow, style="green" if Metric.of(model["metric"]).gain(value, before) > 0 else "red")


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
        return _one_line(cart.program.last_words())
    if cart.trouble:
        return _one_line(cart.trouble)
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


def _hint(bridge: BridgeView, contents: ScreenContents) -> Text:
    text, limit = Text(style="dim"), contents.limit
    if contents.note:
        return text.append(contents.note)
    stop = "Ctrl-C ends it with a summary"
    ending = f"ends after {limit} round{'s' if limit > 1 else ''}; {stop}" if limit else stop
    text.append(f"Open the page addresses in a browser (bridge: {bridge.url}/); {ending}.")
    return text.append(f" Admin pages: password {contents.password}") if contents.password else text


def _one_line(sentence: str) -> Text:
    return Text(sentence, style="red", no_wrap=True, overflow="ellipsis")


def elapsed_words(seconds: float) -> str:
    """Return a duration as minutes and seconds: ``1:05``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
