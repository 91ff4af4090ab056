"""Deal the rows of a data set out to carts unevenly, so that each sees mainly a few groups (months, digits) of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Partition:
    """Which part of a common data set is this cart's: number ``index`` of ``count``, counted from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Partition:
        """Read ``2/4``, the second of four.

        Raises:
            ValueError: as a sentence, if it is anything else.
        """
        first, slash, second = text.partition("/")
        if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second) <= 10_000):
            raise ValueError(f"{text!r} is not a share like 2/4 (the second of four).")
        return cls(int(first) - 1, int(second))


def partition_rows(
    groups: Sequence[int], group_count: int, share: Partition, strength: float, width: float, seed: int
) -> list[int]:
    """Return the places of the rows that this share gets, in an order drawn from the seed.

    The groups form a ring. Each share owns a stretch of it, ``width`` groups wide or as wide as it takes to own them
    all; a row goes to an owner of its group with probability ``strength``, otherwise to any share. Each row goes to
    exactly one share, and every cart that computes this finds the same.

    Args:
        groups: the group of each row, 0 to ``group_count - 1``.
        group_count: how many groups there are.
        share: whose rows to return.
        strength: 0 (even) to 1 (owners only).
        width: how many groups a share owns at least; fractions count.
        seed: of the dealing.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(groups))
    to_owner = random.random(len(groups)) < strength
    draw = random.random(len(groups))
    owners = [_owner_bounds(group, group_count, share.count, width) for group in range(group_count)]
    even = np.arange(1, share.count + 1) / share.count
    mine = []
    for place in order:
        bounds = owners[groups[place]] if to_owner[place] else even
        owner = min(int(np.searchsorted(bounds, draw[place], side="right")), share.count - 1)
        if owner == share.index:
            mine.append(int(place))
    return mine


def _owner_bounds(group: int, group_count: int, shares: int, width: float) -> np.ndarray:
    """Return the cumulative chance of each share to get a row of this group."""
    stretch = min(max(width, group_count / shares), group_count)
    starts = np.arange(shares) * group_count / shares
    # The stretch may run over the end of the ring: the group is looked for one turn further on, too.
    overlap = sum(
        np.clip(np.minimum(starts + stretch, at + 1) - np.maximum(starts, at), 0, None)
        for at in (group, group + group_count)
    )
    return np.cumsum(overlap / np.sum(overlap))
