"""Which rows a round learns from, and which judge models, without I/O: no single sale and no single day is all of them.

Anyone can check out, so whoever sells one long bill, or many in an hour, must not teach the model alone, nor be the one
that judges it. Rows that programs have sent come from no sale, and are not bounded: they show the cart's token.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from datetime import date
from typing import Final

from ..db.records import StoredRow
from ..db.store import HOLD_OUT_EVERY

LEAST_SALES: Final = 10
"""A sale brings at most this part of the waiting rows: a tenth."""
ALWAYS_TAKEN: Final = 10
"""Rows of a sale that are taken whatever else waits: an ordinary bill is never cut."""
CANDIDATES: Final = 4
"""How many old rows are looked at for each one that is taken again."""
ROWS_IN_A_TURN: Final = 100
"""Old rows of programs that count as one day's."""


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
    newest_first = sorted(held_out, key=lambda row: -row.sequence)
    return _in_turns(newest_first, most, lambda row: date.fromtimestamp(row.sold_at))


def rehearsal_numbers(spent_to: int, most: int) -> list[int]:
    """Return the numbers of the rows of which a training takes at most so many again, in order.

    They are drawn from all of the past alike, and none is held out. Where the past is long they are more than are
    taken, so that ``rehearsed_rows`` has a choice. The draw follows from the last spent row: it is another one after
    each training, and the same one when a training is repeated.

    Args:
        spent_to: the number of the last spent row.
        most: rows that are taken.
    """
    in_a_block = HOLD_OUT_EVERY - 1
    trained = spent_to - spent_to // HOLD_OUT_EVERY
    places = random.Random(spent_to).sample(range(trained), min(CANDIDATES * most, trained))  # noqa: S311
    return sorted(place // in_a_block * HOLD_OUT_EVERY + place % in_a_block + 1 for place in places)


def rehearsed_rows(candidates: Sequence[StoredRow], most: int, seed: int) -> list[StoredRow]:
    """Return the old rows that a training takes again: at most this many of the candidates, in their order.

    - A sale brings at most a tenth of them, but one in any case.
    - Days take turns, by the cart's own clock, and in a day sales. Of the rows of programs, which have no day, a
      hundred that came one after the other take turns as a day does. Of equals the seed decides.
    """
    shuffled = random.Random(seed).sample(candidates, len(candidates))  # noqa: S311
    return sorted(_in_turns(shuffled, most, _time_of), key=lambda row: row.sequence)


def _time_of(row: StoredRow) -> Hashable:
    return date.fromtimestamp(row.sold_at) if row.sale_id else row.sequence // ROWS_IN_A_TURN


def _in_turns(rows: Sequence[StoredRow], most: int, time_of: Callable[[StoredRow], Hashable]) -> list[StoredRow]:
    """Return at most so many of the rows: times take turns, and in each of them sales. The first rows come first."""
    most_of_a_sale = max(1, math.ceil(min(most, len(rows)) / LEAST_SALES))
    places: Counter[str] = Counter()
    times: defaultdict[Hashable, list[tuple[int, int, StoredRow]]] = defaultdict(list)
    for rank, row in enumerate(rows):
        if places[row.sale_id] < most_of_a_sale:
            times[time_of(row)].append((places[row.sale_id], rank, row))
            places[row.sale_id] += bool(row.sale_id)
    turns = [
        (turn, rank, row) for found in times.values() for turn, (_, rank, row) in enumerate(sorted(found, key=_first))
    ]
    return [row for _, _, row in sorted(turns, key=_first)[:most]]


def _first(entry: tuple[int, int, StoredRow]) -> tuple[int, int]:
    return entry[:2]
