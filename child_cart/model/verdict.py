"""Decide whether a received model takes part in the average. Plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from .arrays import TensorSpec, Weights, specs_of

# Far above the weights that training gives, far below the overflow of a float32 average.
MAX_WEIGHT: Final = 1e6


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
    """How far a received model's accuracy may be from the cart's own, in points (hundredths)."""

    backward_points: float
    forward_points: float

    def judge(self, local: float, received: float) -> VerdictReason:
        """Accept if ``local - backward < received < local + forward``; accuracies are 0 to 1."""
        if not received > local - self.backward_points / 100:
            return VerdictReason.TOO_WEAK
        if not received < local + self.forward_points / 100:
            return VerdictReason.TOO_STRONG
        return VerdictReason.ACCEPTED


def weights_problem(weights: Weights, expected: Sequence[TensorSpec]) -> VerdictReason | None:
    """Return the reason to reject weights before they are scored, or None."""
    if list(specs_of(weights)) != list(expected):
        return VerdictReason.WRONG_SHAPE
    for array in weights:
        if array.size == 0:
            continue
        # One pass for both: the extremes are NaN or infinite if any element is.
        low, high = float(np.min(array)), float(np.max(array))
        if not np.isfinite(low) or not np.isfinite(high):
            return VerdictReason.NOT_FINITE
        if max(-low, high) > MAX_WEIGHT:
            return VerdictReason.HUGE_WEIGHTS
    return None
