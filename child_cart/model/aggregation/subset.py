"""Average the own model with those received ones with which the average is best on the common evaluation rows.

After "zeno" (Xie et al., 2019), which ranks what it receives by a loss on rows of its own, and "model soups" (Wortsman
et al., 2022), which keep a model in an average only where that makes the average better.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import product
from typing import Final

from ..arrays import Weights
from .base import Aggregator, Contribution, Measuring, Mix, Quality
from .mixes import Mixes
from .weighted_average import average

MOST_EXHAUSTIVE: Final = 6
"""With as many received models all subsets are measured, 64; with more a greedy search begins at both ends."""
LEFT_OUT_NATS: Final = 0.02
"""Loss that a model must cost before it is left out: without it the choice would follow the noise of few rows."""

Taken = tuple[bool, ...]
Search = Generator[Sequence[Weights], Sequence[Quality], Taken]


class Subset(Aggregator):
    """Take the subset whose average with the own model has the lowest loss, plus 0.02 for each one left out.

    Args:
        most_exhaustive: received models of which all subsets are measured.
    """

    measures = True

    def __init__(self, most_exhaustive: int = MOST_EXHAUSTIVE) -> None:
        self._most_exhaustive = most_exhaustive

    def mix(self, own: Contribution, received: Sequence[Contribution]) -> Measuring:
        """Measure averages, and return the best one."""
        models = [own.weights, *(model.weights for model in received)]
        exhaustive = len(received) <= self._most_exhaustive
        taken = yield from (_best_of_all(models) if exhaustive else _greedy(models))
        left_out = tuple(place for place, takes_part in enumerate(taken) if not takes_part)
        return Mix(average(models, _shares(taken)), left_out)


def _best_of_all(models: Sequence[Weights]) -> Search:
    subsets = list(product((True, False), repeat=len(models) - 1))
    costs = yield from _costs(models, subsets)
    return min(zip(costs, subsets, strict=True), key=lambda found: found[0])[1]


def _greedy(models: Sequence[Weights]) -> Search:
    """Leave one out after the other, beginning with all, and add one after the other, beginning with none."""
    count = len(models) - 1
    ends: list[Taken] = [(True,) * count, (False,) * count]
    best = list(zip((yield from _costs(models, ends)), ends, strict=True))
    for place, changed_to in enumerate((False, True)):
        while steps := [
            _with(best[place][1], one, changed_to) for one in range(count) if best[place][1][one] != changed_to
        ]:
            costs = yield from _costs(models, steps)
            step = min(zip(costs, steps, strict=True), key=lambda found: found[0])
            if step[0] >= best[place][0]:
                break
            best[place] = step
    return min(best, key=lambda found: found[0])[1]


def _costs(
    models: Sequence[Weights], subsets: Sequence[Taken]
) -> Generator[Sequence[Weights], Sequence[Quality], list[float]]:
    qualities = yield Mixes(models, [_shares(taken) for taken in subsets])
    return [
        quality.loss + LEFT_OUT_NATS * taken.count(False) for quality, taken in zip(qualities, subsets, strict=True)
    ]


def _shares(taken: Taken) -> list[float]:
    return [1.0, *map(float, taken)]


def _with(taken: Taken, place: int, takes_part: bool) -> Taken:
    return (*taken[:place], takes_part, *taken[place + 1 :])
