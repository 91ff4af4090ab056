"""Where the carts' rows come from: a CSV file of the user's own, or the task's starter rows. It trains nothing.

A CSV file is split into files in the demo's folder: one for each cart to start from, and one to measure on.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from cart_common.process.errors import UserError
from child_cart.model.csv_rows import read_lines, read_rows
from child_cart.model.partition import Partition
from child_cart.model.task import Row, Task

from .config import SELLING_TASK, DemoSettings, Plan

T = TypeVar("T")
TEST_EVERY: Final = 5
MOST_TEST_ROWS: Final = 2000
LEAST_ROWS_OF_A_CART: Final = 10
SPLIT_SEED: Final = 1


class RowsError(UserError):
    """There are not enough rows for the carts."""


@dataclass(frozen=True)
class Split(Generic[T]):
    """Rows split among carts: those that each starts from, those that it gets later, and those that none gets."""

    starter: list[list[T]]
    later: list[list[T]]
    test: list[T]


def split(rows: Sequence[T], carts: int, most_starter_rows: int) -> Split[T]:
    """Split rows among carts, the same way each time.

    Every fifth row, at most 2,000 in all, is for measuring. Of the others each cart gets one stretch: a file that is
    sorted makes carts that see different things. A cart gets its rows in an order drawn at random, so that those that
    it starts from are like the later ones. It starts from half of them at most.
    """
    every = max(TEST_EVERY, -(-len(rows) // MOST_TEST_ROWS))
    rest = [row for place, row in enumerate(rows) if place % every]
    bounds = [len(rest) * cart // carts for cart in range(carts + 1)]
    stretches = [rest[start:end] for start, end in pairwise(bounds)]
    draw = random.Random(SPLIT_SEED)  # noqa: S311 - nothing secret
    for stretch in stretches:
        draw.shuffle(stretch)
    starts = [min(most_starter_rows, len(stretch) // 2) for stretch in stretches]
    return Split(
        [stretch[:start] for stretch, start in zip(stretches, starts, strict=True)],
        [stretch[start:] for stretch, start in zip(stretches, starts, strict=True)],
        list(rows[::every]),
    )


def rows_to_buy(settings: DemoSettings, plan: Plan, task: Task, folder: Path) -> list[list[Row]]:
    """Return the rows that the shoppers bring to each cart; write the files of a split CSV file into the folder.

    Raises:
        RowsError: if a cart would have no rows.
        CsvError: if the CSV file cannot be used.
    """
    if not settings.data:
        return _after_starter_rows(settings, plan, task)
    path = Path(settings.data).resolve()
    lines = read_lines(task, path)
    least = settings.carts * LEAST_ROWS_OF_A_CART
    if len(lines) < least:
        raise RowsError(
            f"{path} has {len(lines)} rows; {settings.carts} carts need at least {least}. "
            "Give more rows, or start fewer carts: make run CARTS=2."
        )
    parts = split(lines, settings.carts, plan.starter_rows)
    for number, starter in enumerate(parts.starter, 1):
        _write(starter_file(folder, number), [fields for fields, _ in starter])
    _write(measured_file(folder), [fields for fields, _ in parts.test])
    # A cart parses what it gets. Bills are made of parsed rows; any other task gets the fields as they stand.
    sells = settings.task == SELLING_TASK
    return [[row if sells else dict(fields) for fields, row in later] for later in parts.later]


def _after_starter_rows(settings: DemoSettings, plan: Plan, task: Task) -> list[list[Row]]:
    """Return the rows of each cart's partition that are not its starter rows."""
    starter = [_starter_rows(settings.task, task, Partition(index, settings.carts)) for index in range(settings.carts)]
    empty = [number for number, rows in enumerate(starter, 1) if not rows]
    if empty:
        whose = f"cart {empty[0]} of {settings.carts}" if len(empty) < settings.carts else "any cart"
        raise RowsError(
            f"The task {settings.task} has no starter rows for {whose}, so there is nothing to learn from. Give a CSV "
            f"file with rows of your own: make run TASK={settings.task} DATA=rows.csv."
        )
    return [rows[plan.starter_rows :] or rows for rows in starter]


def _starter_rows(name: str, task: Task, partition: Partition) -> list[Row]:
    try:
        return list(task.starter_rows(partition))
    except Exception as error:  # the module is the user's, and may raise anything
        raise RowsError(f"The task {name} gives no starter rows: {type(error).__name__}: {error}.") from error


def starter_rows(folder: Path, task: Task, number: int, carts: int, most: int) -> list[Row]:
    """Return the rows that cart ``number``, counted from 1, started from."""
    own = starter_file(folder, number)
    return (read_rows(task, own) if own.exists() else task.starter_rows(Partition(number - 1, carts)))[:most]


def starter_file(folder: Path, number: int) -> Path:
    """Return the CSV file that cart ``number`` starts from, where the user gave rows."""
    return folder / f"cart-{number}.csv"


def measured_file(folder: Path) -> Path:
    """Return the CSV file to measure on, where the user gave rows."""
    return folder / "test-rows.csv"


def _write(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
