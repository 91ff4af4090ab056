"""Where rows come from: they are invented, until there are real ones."""

import numpy as np

from child_cart.model.task import Row

from .fields import CLASSES, FIELDS, TARGET

COUNTS = {"starter": 3000, "evaluation": 200, "test": 1000}


def rows_for(use: str) -> list[Row]:
    """Return the rows for a use, the same ones each time: each class has usual values of its own."""
    usual = np.random.default_rng(4).normal(0, 1.5, (len(CLASSES), len(FIELDS)))
    random = np.random.default_rng(list(COUNTS).index(use) + 1)
    classes = random.integers(0, len(CLASSES), COUNTS[use])
    steps = usual[classes] + random.normal(0, 1, (len(classes), len(FIELDS)))
    numbers = np.array([centre for centre, _ in FIELDS.values()]) + steps * [spread for _, spread in FIELDS.values()]
    return [
        {**dict(zip(FIELDS, values, strict=True)), TARGET: CLASSES[place]}
        for values, place in zip(numbers.round(3).tolist(), classes.tolist(), strict=True)
    ]
