"""Which rows a round learns from, and which judge models, without I/O: no single sale and no single day is all of them.

Anyone can check out, so whoever sells one long bill, or many in an hour, must not teach the model alone, nor be the one
that judges it. Rows that programs have sent come from no sale, and are not bounded: they show the cart's token.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Final

from ..db.records import StoredRow

LEAST_SALES: Final = 10
"""A sale brings at most this part of the waiting rows: a tenth."""
ALWAYS_TAKEN: Final = 10
"""Rows of a sale that are taken whatever else waits: an ordinary bill is never cut."""


def chosen_rows(waiting: Sequence[StoredRow], dataset_size: int) -> list[StoredRow]:
    """Return the rows to learn from, in their order.

    - A sale brings at most a tenth of the waiting rows, but 10 in any case.
    - Days, by the cart's own clock and time zone, are taken whole from the smallest on, until one has more than twice
      the rows of the smaller ones (more than ``2 * dataset_size`` in any case). That one and the larger ones together
      bring no more than this, so that the halves of a flood over midnight do not weigh for each other. The first rows
      of each sale come first.
    """
    most_of_a_sale = max(ALWAYS_TAKEN, math.ceil(len(waiting) / LEAST_SALES))
    places: Counter[str] = Counter()
    days: defaultdict[date, list[tuple[int, StoredRow]]] = defaultdict(list)
    chosen = []
    for row in waiting:
        if not row.sale_id:
            chosen.append(row)
        elif places[row.sale_id] < most_of_a_sale:
            days[date.fromtimestamp(row.sold_at)].append((places[row.sale_id], row))
            places[row.sale_id] += 1
    whole: list[StoredRow] = []
    crowded: list[tuple[int, StoredRow]] = []
    for rows in sorted(days.values(), key=len):
        if whole and (crowded or len(rows) > max(2 * dataset_size, 2 * len(whole))):
            crowded += rows
        else:
            whole += [row for _, row in rows]
    crowded.sort(key=lambda pair: (pair[0], pair[1].sequence))
    chosen += whole + [row for _, row in crowded[: max(2 * dataset_size, 2 * len(whole))]]
    return sorted(chosen, key=lambda row: row.sequence)


def judging_rows(held_out: Sequence[StoredRow], most: int) -> list[StoredRow]:
    """Return the held-out rows that measure a model: at most this many.

    - A sale brings at most a tenth of them, but one in any case.
    - Days take turns, by the cart's own clock, and in a day sales: a second row of either comes after the first ones of
      all others. Rows of programs take turns with the days. Of equals the newest comes first.
    """
    most_of_a_sale = max(1, math.ceil(min(most, len(held_out)) / LEAST_SALES))
    places: Counter[str] = Counter()
    days: defaultdict[date, list[tuple[int, StoredRow]]] = defaultdict(list)
    for row in sorted(held_out, key=_newest_first):
        if places[row.sale_id] < most_of_a_sale:
            days[date.fromtimestamp(row.sold_at)].append((places[row.sale_id], row))
            places[row.sale_id] += bool(row.sale_id)
    turns = [
        (turn, row)
        for rows in days.values()
        for turn, (_, row) in enumerate(sorted(rows, key=lambda pair: (pair[0], _newest_first(pair[1]))))
    ]
    return [row for _, row in sorted(turns, key=lambda pair: (pair[0], _newest_first(pair[1])))[:most]]


def _newest_first(row: StoredRow) -> int:
    return -row.sequence
