"""Decide whether one model is worse than another on the same rows: numbers in, a verdict out.

The test is Student's t for paired differences, one-sided, at 95 %. Losses, not right answers: each row says how much,
so a hundred rows show a loss that the count of right answers would hide. They are bounded, so that the mean of some
dozens is nearly normal whatever the rows are like.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from .arrays import Array

CONFIDENCE: Final = 0.95
LEAST_ROWS: Final = 5
"""With fewer rows nothing is told apart."""
LEAST_DIFFERENCE: Final = 1e-4
"""Mean difference in nats below which two models are alike: rounding alone may be the same on every row."""


def is_worse(losses: Array, than: Array) -> bool:
    """Return whether losses are higher than others on the same rows, by more than chance explains.

    Args:
        losses: (rows,) of the model in question.
        than: (rows,) of the one that it is compared with.
    """
    differences = np.asarray(losses, np.float64) - than
    rows = len(differences)
    mean = float(differences.mean()) if rows else 0.0
    if rows < LEAST_ROWS or mean <= LEAST_DIFFERENCE:
        return False
    error = float(differences.std(ddof=1)) / math.sqrt(rows)
    return mean > student_quantile(CONFIDENCE, rows - 1) * error


def student_quantile(confidence: float, degrees: int) -> float:
    """Return the quantile of Student's t, by the expansion around the normal one (Fisher and Cornish, 1960).

    For 95 % and 4 degrees of freedom or more it is right to 0.3 %.
    """
    z = NormalDist().inv_cdf(confidence)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / float(degrees) ** power for power, term in enumerate(terms))
