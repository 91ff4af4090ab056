"""Decide which rows each simulated cart gets in which round.

All partitions work alike: the pool is divided into groups (labels, months, parts), and a cart draws the group of each
of its rows by its own proportions. A group's rows are given to one cart and round each while they last.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np
from numpy.typing import NDArray

from child_cart.model.arrays import Array
from child_cart.model.partition import Partition
from child_cart.model.task import Row, Task

from .pool import Places, Pool
from .specs import Spec

PARTITIONS: Final = "iid, dirichlet:ALPHA (0.001 to 1000000), labels:K (labels of each cart), months or own"
MONTHS: Final = 12

ORDER: Final = 101
DEMAND: Final = 102
REPLACEMENT: Final = 103
PROPORTIONS: Final = 104

Proportions = Callable[[int], Array]
"""Takes a round's number and returns the probability of each group for each cart: (carts, groups)."""


@dataclass(frozen=True)
class _RoundDemand:
    """How many rows each cart takes of each group in one round, and from where in the group's order."""

    counts: Places  # (carts, groups)
    firsts: Places  # (carts, groups)
    fits: NDArray[np.bool_]  # (groups,): whether the group suffices for this round and all before it


class RowPartition:
    """Which rows each cart gets in each round: the same for the same seed, in whatever order it is asked.

    Args:
        groups: the places in the pool of each group's rows.
        proportions: of the groups, for each cart.
        rows: that a cart gets in a round.
        seed: of all draws.
        note: said after the words.

    Attributes:
        words: how the rows are drawn, for the record of a run.
    """

    def __init__(
        self, groups: Sequence[Places], proportions: Proportions, rows: int, seed: int, note: str = ""
    ) -> None:
        self._proportions, self._rows, self._seed = proportions, rows, seed
        self._orders = [np.random.default_rng([seed, ORDER, g]).permutation(group) for g, group in enumerate(groups)]
        self._sizes = np.array([len(group) for group in groups])
        self._used = [np.zeros(len(groups), np.int64)]  # rows of each group that the rounds up to this one demand
        self._latest: dict[int, _RoundDemand] = {}
        first = self._demand(1)
        lasting = (first.fits & first.counts.any(axis=0)).any()
        how = "from {}, none twice while they last, then drawn with replacement" if lasting else ""
        how = (how or "drawn with replacement from {}").format(f"{self._sizes.sum():,}")
        self.words = f"{rows:,} rows a cart and round, {how}{note}"

    def places(self, cart: int, round_number: int) -> Places:
        """Return the places in the pool of the rows of a cart (from 0) in a round (from 1): (rows,)."""
        demand = self._demand(round_number)
        random = np.random.default_rng([self._seed, REPLACEMENT, round_number, cart])
        drawn = []
        for group in np.flatnonzero(demand.counts[cart]):
            order, first, count = self._orders[group], demand.firsts[cart, group], demand.counts[cart, group]
            chosen = slice(first, first + count) if demand.fits[group] else random.integers(0, len(order), count)
            drawn.append(order[chosen])
        return random.permutation(np.concatenate(drawn))

    def _demand(self, round_number: int) -> _RoundDemand:
        if round_number not in self._latest:
            while len(self._used) < round_number:
                self._used.append(self._used[-1] + self._counts(len(self._used)).sum(axis=0))
            counts, before = self._counts(round_number), self._used[round_number - 1]
            ends = before + counts.cumsum(axis=0)
            self._latest = {round_number: _RoundDemand(counts, ends - counts, ends[-1] <= self._sizes)}
        return self._latest[round_number]

    def _counts(self, round_number: int) -> Places:
        random = np.random.default_rng([self._seed, DEMAND, round_number])
        return random.multinomial(self._rows, self._proportions(round_number))


def partition_of(spec: str, pool: Pool, task: Task, carts: int, rows: int, seed: int) -> RowPartition:
    """Return the partition that a spec names.

    Args:
        spec: ``iid``; ``dirichlet:ALPHA`` (the labels' proportions of each cart are drawn from a Dirichlet
            distribution with ALPHA for a label of average frequency; Hsu, Qi and Brown, 2019); ``labels:K`` (each cart
            has K labels; McMahan et al., 2017, with K = 2); ``months`` (round 1 is of January, and so on, for rows with
            a field ``month``); ``own`` (the task's own partitions of its starter rows).
        pool: the rows to draw from.
        task: what the carts learn.
        carts: their number.
        rows: that a cart gets in a round.
        seed: of all draws.

    Raises:
        SettingError: if there is no such partition, or the rows do not suit it.
    """
    asked = Spec("partition", spec, PARTITIONS)
    if asked.name == "dirichlet":
        alpha = asked.number(asked.argument, 0.001, 1_000_000)
        return _by_label(pool, lambda found: _dirichlet(found, alpha, carts, seed), rows, seed)
    if asked.name == "labels":
        classes = len(np.unique(pool.labels))
        kept = asked.whole(1, classes, f"labels:K with K from 1 to {classes}, the number of labels in the rows")
        return _by_label(pool, lambda found: _few_labels(len(found), kept, carts, seed), rows, seed)
    if asked.bare() == "months":
        groups = _months(asked, pool)
        return RowPartition(groups, lambda n: np.eye(MONTHS)[np.full(carts, (n - 1) % MONTHS)], rows, seed)
    if asked.name == "own":
        groups = _own_parts(asked, pool, task, carts, rows)
        note = f"; the task's own partition into {len(groups):,}, for {carts:,} carts{_shared_words(groups)}"
        return RowPartition(groups, lambda _: np.eye(len(groups))[np.arange(carts) % len(groups)], rows, seed, note)
    if asked.name != "iid":
        raise asked.refusal()
    return RowPartition([np.arange(len(pool.rows))], lambda _: np.ones((carts, 1)), rows, seed)


def _by_label(pool: Pool, draw: Callable[[Array], Array], rows: int, seed: int) -> RowPartition:
    """Return a partition whose groups are the labels; ``draw`` maps their frequencies to (carts, labels)."""
    labels, counts = np.unique(pool.labels, return_counts=True)
    proportions = draw(counts / counts.sum())
    return RowPartition([np.flatnonzero(pool.labels == label) for label in labels], lambda _: proportions, rows, seed)


def _dirichlet(frequencies: Array, alpha: float, carts: int, seed: int) -> Array:
    parameters = alpha * len(frequencies) * frequencies
    drawn = [np.random.default_rng([seed, PROPORTIONS, 0, cart]).dirichlet(parameters) for cart in range(carts)]
    return np.array(drawn)


def _few_labels(labels: int, kept: int, carts: int, seed: int) -> Array:
    """Give each cart ``kept`` labels: the carts go through all labels in a random order, then in another one."""
    carts_a_lap = -(-labels // kept)
    proportions = np.zeros((carts, labels))
    for cart in range(carts):
        lap, step = divmod(cart, carts_a_lap)
        order = np.random.default_rng([seed, PROPORTIONS, 0, lap]).permutation(labels)
        proportions[cart, order[(step * kept + np.arange(kept)) % labels]] = 1 / kept
    return proportions


def _months(asked: Spec, pool: Pool) -> list[Places]:
    found = [row.get("month") for row in pool.rows]
    lacking = sorted(set(range(1, MONTHS + 1)) - {month for month in found if isinstance(month, int)})
    if lacking:
        words = ", ".join(map(str, lacking))
        raise asked.refusal(f"iid or another partition, since no row has {words} in a field month (1 to 12)")
    months = np.array([month if isinstance(month, int) else 0 for month in found])
    return [np.flatnonzero(months == month) for month in range(1, MONTHS + 1)]


def _own_parts(asked: Spec, pool: Pool, task: Task, carts: int, rows: int) -> list[Places]:
    """Return the places of the task's own parts: as many as have enough rows for a round, but no more than carts."""
    places = defaultdict(list)
    for place, row in enumerate(pool.rows):
        places[json.dumps(row, sort_keys=True)].append(place)
    next_place = {key: cycle(same) for key, same in places.items()}  # equal rows of two parts get different places
    parts = _starter_parts(task, min(carts, max(1, len(pool.rows) // rows)), rows)
    groups = [_places_of(part, next_place) for part in parts]
    if not groups or not all(map(len, groups)):
        raise asked.refusal("iid or another partition, since the rows are not the starter rows of the task")
    return groups


def _places_of(part: Sequence[Row], next_place: Mapping[str, Iterator[int]]) -> Places:
    """Return a different place for each row of a part. Rows that are kept for the test have none in the pool."""
    keys = [json.dumps(row, sort_keys=True) for row in part]
    return np.array(list(dict.fromkeys(next(next_place[key]) for key in keys if key in next_place)), np.int64)


def _shared_words(groups: Sequence[Places]) -> str:
    """Return what is said of rows that several parts have; a task may give them so."""
    shared = int((np.unique(np.concatenate(groups), return_counts=True)[1] > 1).sum())
    return f"; several parts have {shared:,} of the rows" if shared else ""


def _starter_parts(task: Task, count: int, rows: int) -> list[list[Row]]:
    parts = []
    for index in range(count):
        part = task.starter_rows(Partition(index, count))
        if len(part) < rows and count > 1:
            return _starter_parts(task, count * 4 // 5, rows)
        parts.append(part)
    return parts
