"""Momentum over the rounds of a cart (SlowMo: Wang et al., ICLR 2020), on top of any aggregator. Pure NumPy.

With a slow learning rate of 1 the paper's buffer is what the round before has changed. So the weights at the start of
two rounds, which a cart keeps as versions, are all its state.
"""

from __future__ import annotations

import numpy as np

from .arrays import Array, Weights


def with_momentum(mix: Weights, start: Weights, before: Weights, momentum: float) -> list[Array]:
    """Return the mix moved on by a part of what the round before has changed.

    An array whose elements are all at least 0, as variances are, gets no negative ones: they stay as in the mix. Arrays
    of whole numbers stay, too.

    Args:
        mix: the average of this round.
        start: the weights at the start of this round.
        before: the weights at the start of the round before.
        momentum: the part, from 0 to less than 1.
    """
    return [_moved(*arrays, momentum) for arrays in zip(mix, start, before, strict=True)]


def _moved(mix: Array, start: Array, before: Array, momentum: float) -> Array:
    if mix.dtype.kind != "f" or mix.size == 0:
        return mix
    moved = np.asarray(mix + momentum * (start - before), mix.dtype)
    return np.where(moved < 0, mix, moved) if float(mix.min()) >= 0 else moved
