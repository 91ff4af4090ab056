"""Which arrays of a model travel between carts, and what they are. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """What the weights of a learner are.

    Attributes:
        statistics: the places of arrays that a training measures and does not learn, as the moving variances of batch
            normalisation. They may be as large as what they measure.
        base: a digest of what the model computes with and never sends: frozen arrays and preprocessing. Empty for a
            model without either.
    """

    statistics: frozenset[int] = frozenset()
    base: str = ""
