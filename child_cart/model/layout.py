"""What the arrays of a learner are, and which of them stay with their cart. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """What the weights of a learner are.

    Attributes:
        statistics: the places of arrays that a training measures and does not learn, as the moving variances of batch
            normalisation. They may be as large as what they measure.
        base: a digest of what the model computes with and never sends: frozen arrays and preprocessing. Empty for a
            model without either.
        personal: the places of arrays that are trained and kept, and never sent, with the name of the layer of each.
    """

    statistics: frozenset[int] = frozenset()
    base: str = ""
    personal: Mapping[int, str] = field(default_factory=dict)
