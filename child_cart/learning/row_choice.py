"""Which waiting rows a round learns from, without I/O: no single sale, and no single day of many sales, makes a round.

Anyone can check out, so whoever sells one long bill, or many in an hour, must not teach the model by themselves. Rows
that programs have sent come from no sale and are all taken: they show the cart's token.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from ..db.records import StoredRow

LEAST_SALES: Final = 10
"""A sale brings at most this part of the waiting rows: a tenth."""
ALWAYS_TAKEN: Final = 10
"""Rows of a sale that are taken whatever else waits: an ordinary bill is never cut."""
DAY_S: Final = 86_400


def chosen_rows(waiting: Sequence[StoredRow], dataset_size: int) -> list[StoredRow]:
    """Return the rows to learn from, in their order.

    - A sale brings at most a tenth of the waiting rows, but 10 in any case.
    - A day, by the cart's own clock, brings at most twice what all other days bring, but ``2 * dataset_size`` rows in
      any case. So earlier days, where there are some, weigh against a flood. The first rows of each sale come first.
    """
    most_of_a_sale = max(ALWAYS_TAKEN, math.ceil(len(waiting) / LEAST_SALES))
    places: Counter[str] = Counter()
    days: defaultdict[int, list[tuple[int, StoredRow]]] = defaultdict(list)
    chosen = []
    for row in waiting:
        if not row.sale_id:
            chosen.append(row)
        elif places[row.sale_id] < most_of_a_sale:
            days[int(row.sold_at // DAY_S)].append((places[row.sale_id], row))
            places[row.sale_id] += 1
    taken = sum(map(len, days.values()))
    for rows in days.values():
        others = taken - len(rows)
        most = max(2 * dataset_size, 2 * others) if others else len(rows)
        chosen += [row for _, row in sorted(rows, key=lambda pair: (pair[0], pair[1].sequence))[:most]]
    return sorted(chosen, key=lambda row: row.sequence)
