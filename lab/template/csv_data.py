"""Where rows come from: the file ``rows.csv`` beside this module, whose first line names the columns."""

from functools import cache
from pathlib import Path

import numpy as np

from child_cart.model.csv_rows import read_fields
from child_cart.model.task import Row

FILE = Path(__file__).with_name("rows.csv")
TEST_PART, EVALUATION_PART = 0.2, 0.1


def rows_for(use: str) -> list[Row]:
    """Return the rows for a use, the same ones each time; no row is for two uses."""
    found = _rows()
    order = np.random.default_rng(1).permutation(len(found)).tolist()
    test, evaluation = round(TEST_PART * len(found)), round(EVALUATION_PART * len(found))
    places = {"test": order[:test], "evaluation": order[test:][:evaluation], "starter": order[test + evaluation :]}
    return [found[place] for place in places[use]]


@cache
def _rows() -> list[Row]:
    return [dict(fields) for fields in read_fields(FILE)]
