"""The results as a table, as Markdown and as JSON: each cart alone and in the federation, and one model on all data."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from cart_common.process.atomic_files import write_whole
from child_cart.model.metric import Metric

from .curve import MODELS, capital, figure

Json = dict[str, Any]
COLUMNS: Final = ("model", "rows", "rounds averaged", "alone", "federated", "gain")


def summary_rows(summary: Json) -> list[tuple[str, ...]]:
    """Return the cells of the table below its header: the carts, their mean, and one model on all data."""
    carts = summary["carts"]
    rows = [
        (_name(cart), str(cart["rows"]), str(cart["averaged"]), *_compared(cart["alone"], cart["federated"]))
        for cart in carts
    ]
    whole = [cart for cart in carts if cart["alone"] is not None and cart["federated"] is not None]
    if len(whole) > 1:
        alone, federated = (sum(cart[kind] for cart in whole) / len(whole) for kind in ("alone", "federated"))
        rows.append(("mean of the carts", "", "", *_compared(alone, federated)))
    return [*rows, ("one model on all data", str(summary["together_rows"]), "", "", figure(summary["together"]), "")]


def _name(cart: Json) -> str:
    return f"cart {cart['number']}" + (f" ({cart['ending']})" if cart.get("ending") else "")


def _compared(alone: float | None, federated: float | None) -> tuple[str, str, str]:
    gain = "" if alone is None or federated is None else f"{federated - alone:+.3f}"
    return figure(alone), figure(federated), gain


def explanation(summary: Json) -> str:
    """Return what the figures are, in words."""
    if not summary["test_rows"]:
        return (
            "Nothing was measured: the task has no test_rows and no evaluation_rows. "
            f"The carts took {summary['took_s']:.0f} s."
        )
    title = capital(Metric.of(summary["metric"]).title)
    return (
        f'{title} on {summary["test_rows"]:,} rows that no cart has trained on. "Alone" and "all data" are trained as '
        "a cart trains, in the same order, without averaging. A round that had not ended does not count. "
        f"The carts took {summary['took_s']:.0f} s."
    )


def summary_table(summary: Json) -> Table:
    """Return the table for a terminal."""
    title = f"What the carts have learned: {summary['task']}"
    table = Table(title=title, title_justify="left", caption=explanation(summary), caption_justify="left")
    table.add_column(COLUMNS[0])
    for name in COLUMNS[1:]:
        table.add_column(name, justify="right", style="bold" if name == "federated" else None)
    rows = summary_rows(summary)
    for place, row in enumerate(rows):
        if place >= len(summary["carts"]):
            table.add_section()
        table.add_row(*row)
    return table


def markdown(summary: Json) -> str:
    """Return the summary as a page of Markdown, with the values after each round."""
    parts = [f"# What the carts have learned: {summary['task']}", explanation(summary)]
    parts.append(_markdown_table(COLUMNS, summary_rows(summary)))
    points = [
        (str(point["round"]), str(point["carts"]), *(figure(point[kind]) for kind in MODELS))
        for point in summary["rounds"]
    ]
    if points:
        parts += ["## After each round", "Means of the carts; round 0 is after the starter rows."]
        parts.append(_markdown_table(("round", "carts", *MODELS.values()), points))
    source = f"the rows of {summary['data']}" if summary["data"] else "the rows of the task"
    parts.append(f"Written on {summary['written_at']}, from {source}.")
    return "\n\n".join(parts) + "\n"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def save(summary: Json, folder: Path) -> Path:
    """Write the summary as Markdown, and as JSON beside it; return the path of the first.

    Raises:
        OSError: if the disk does not take it.
    """
    moment = datetime.fromisoformat(summary["written_at"])
    name = re.sub(r"[^\w-]+", "-", summary["task"].rpartition(":")[2])
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}-{moment:%Y%m%d-%H%M%S}.md"
    write_whole(page, markdown(summary).encode())
    write_whole(page.with_suffix(".json"), (json.dumps(summary, indent=2) + "\n").encode())
    return page
