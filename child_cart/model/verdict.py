"""Decide whether a received model takes part in the average. Plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from .arrays import TensorSpec, Weights, specs_of
from .metric import ACCURACY, Metric

# Far above the weights that training gives, far below the overflow of a float32 average.
MAX_WEIGHT: Final = 1e6
MAX_STATISTIC: Final = 1e30


class VerdictReason(StrEnum):
    """Why a model was accepted or dropped; log, store and page use the same words."""

    ACCEPTED = "ACCEPTED"
    TOO_WEAK = "TOO_WEAK"
    TOO_STRONG = "TOO_STRONG"
    BAD_PAYLOAD = "BAD_PAYLOAD"
    WRONG_SHAPE = "WRONG_SHAPE"
    NOT_FINITE = "NOT_FINITE"
    HUGE_WEIGHTS = "HUGE_WEIGHTS"
    OUT_OF_PROPORTION = "OUT_OF_PROPORTION"
    KNOWN_ALREADY = "KNOWN_ALREADY"
    LEFT_OUT = "LEFT_OUT"
    NOT_RECEIVED = "NOT_RECEIVED"


@dataclass(frozen=True)
class AcceptWindow:
    """How far a received model's value may be from the cart's own, in points.

    A point is a hundredth of a fraction, as accuracy is one. Of an error it is one per cent of the larger one of both.
    """

    backward_points: float
    forward_points: float
    metric: Metric = ACCURACY

    def judge(self, local: float | None, received: float | None) -> VerdictReason:
        """Accept if the received model is worse by less than ``backward`` and better by less than ``forward``.

        Where either was not measured, there is nothing to judge by, and it is accepted.
        """
        if local is None or received is None:
            return VerdictReason.ACCEPTED
        gain_points = self.metric.gain_points(received, local)
        if not gain_points > -self.backward_points:
            return VerdictReason.TOO_WEAK
        if not gain_points < self.forward_points:
            return VerdictReason.TOO_STRONG
        return VerdictReason.ACCEPTED


def weights_problem(
    weights: Weights, expected: Sequence[TensorSpec], statistics: Set[int] = frozenset()
) -> VerdictReason | None:
    """Return the reason to reject weights before they are scored, or None.

    Args:
        weights: the arrays of a model.
        expected: what they must be.
        statistics: the places of those that measure rows: they may be as large as the squares of what is measured.
    """
    if list(specs_of(weights)) != list(expected):
        return VerdictReason.WRONG_SHAPE
    for place, array in enumerate(weights):
        if array.size == 0:
            continue
        # One pass for both: the extremes are NaN or infinite if any element is.
        low, high = float(np.min(array)), float(np.max(array))
        if not np.isfinite(low) or not np.isfinite(high):
            return VerdictReason.NOT_FINITE
        if max(-low, high) > (MAX_STATISTIC if place in statistics else MAX_WEIGHT):
            return VerdictReason.HUGE_WEIGHTS
    return None
