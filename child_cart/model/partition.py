"""Partition the rows of a data set among carts unevenly: each cart sees mainly a few of its groups (months, digits)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Partition:
    """One cart's part of a common data set: number ``index`` (from 0) of ``count``."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Partition:
        """Read ``2/4``, the second of four.

        Raises:
            ValueError: if the text is anything else; the message is for the user.
        """
        first, slash, second = text.partition("/")
        if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second) <= 10_000):
            raise ValueError(f"{text!r} is not a share like 2/4 (the second of four).")
        return cls(int(first) - 1, int(second))


def partition_rows(
    groups: Sequence[int], group_count: int, partition: Partition, strength: float, width: float, seed: int
) -> list[int]:
    """Return the places of the rows in a partition, in an order drawn from the seed.

    The groups form a ring. Each partition owns a stretch of it, at least ``width`` groups wide and wide enough that
    every group has an owner. A row goes to an owner of its group with probability ``strength``, otherwise to any
    partition. Each row is in exactly one partition, and every cart computes the same result.

    Args:
        groups: the group of each row, 0 to ``group_count - 1``.
        group_count: number of groups.
        partition: whose rows to return.
        strength: 0 (even) to 1 (owners only).
        width: number of groups that a partition owns at least; fractions count.
        seed: of the random draws.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(groups))
    to_owner = random.random(len(groups)) < strength
    draw = random.random(len(groups))
    owners = [_owner_bounds(group, group_count, partition.count, width) for group in range(group_count)]
    even = np.arange(1, partition.count + 1) / partition.count
    mine = []
    for place in order:
        bounds = owners[groups[place]] if to_owner[place] else even
        owner = min(int(np.searchsorted(bounds, draw[place], side="right")), partition.count - 1)
        if owner == partition.index:
            mine.append(int(place))
    return mine


def _owner_bounds(group: int, group_count: int, partitions: int, width: float) -> np.ndarray:
    """Return the cumulative probability of each partition to get a row of this group: (partitions,)."""
    stretch = min(max(width, group_count / partitions), group_count)
    starts = np.arange(partitions) * group_count / partitions
    # A stretch may cross the end of the ring, so the group is also looked for one turn further on.
    overlap = sum(
        np.clip(np.minimum(starts + stretch, at + 1) - np.maximum(starts, at), 0, None)
        for at in (group, group + group_count)
    )
    return np.cumsum(overlap / np.sum(overlap))
