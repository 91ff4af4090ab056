"""The results as a table: each cart alone, each cart in the federation, and one model on the rows of all carts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from .config import DemoSettings, Plan
from .fleet import FleetError
from .processes import LAUNCHER, environment, last_line

Json = dict[str, Any]
TRAINING_THREADS: Final = 2


async def measure(settings: DemoSettings, plan: Plan, folder: Path, console: Console) -> Json:
    """Measure the models in a separate process, which always ends before this call returns.

    Raises:
        FleetError: if the process fails.
    """
    log = folder / "references.log"
    arguments = [str(folder), settings.task, str(settings.carts), str(plan.starter_rows)]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        shown = progress.add_task("Training each cart's model alone, for comparison", total=settings.carts + 2)
        async with _references(arguments, log) as process:
            assert process.stdout is not None
            async for line in process.stdout:
                answer: Json = json.loads(line)
                if "carts" in answer:
                    return answer
                progress.update(shown, completed=answer["done"], total=answer["of"])
    raise FleetError(f"The models could not be compared: {last_line(log)} (see {log})")


@asynccontextmanager
async def _references(arguments: list[str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    threads = {"TF_NUM_INTRAOP_THREADS": str(TRAINING_THREADS), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with open(log, "wb") as errors:  # noqa: ASYNC230 - opened once
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(LAUNCHER), str(os.getpid()), sys.executable, "-m", "demo.references", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**environment(os.environ, log.parent), **threads},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def summary_table(results: Json, task: str, took_s: float) -> Table:
    """Return the final table; accuracies are 0 to 1."""
    carts = results["carts"]
    table = Table(title=f"What the carts have learned: {task}", title_justify="left", caption_justify="left")
    table.caption = (
        f'Accuracy (0 to 1) on {results["test_rows"]} rows that no cart has trained on. "Alone" and "all data" are '
        f"trained as a cart trains, in the same order, without averaging. The carts took {took_s:.0f} s."
    )
    table.add_column("model")
    for name in ("rows", "rounds averaged", "alone", "federated", "gain"):
        table.add_column(name, justify="right")
    for cart in carts:
        table.add_row(
            f"cart {cart['number']}",
            str(cart["rows"]),
            str(cart["averaged"]),
            *_compared(cart["alone"], cart["federated"]),
        )
    whole = [cart for cart in carts if cart["alone"] is not None and cart["federated"] is not None]
    if len(whole) > 1:
        table.add_section()
        alone, federated = (sum(cart[kind] for cart in whole) / len(whole) for kind in ("alone", "federated"))
        table.add_row("mean of the carts", "", "", *_compared(alone, federated))
    table.add_section()
    table.add_row("one model on all data together", str(results["together_rows"]), "", "", f"{results['together']:.3f}")
    return table


def _compared(alone: float | None, federated: float | None) -> tuple[str, str, str]:
    shown = ["-" if value is None else f"{value:.3f}" for value in (alone, federated)]
    gain = "" if alone is None or federated is None else f"{federated - alone:+.3f}"
    return shown[0], f"[bold]{shown[1]}[/bold]", gain
