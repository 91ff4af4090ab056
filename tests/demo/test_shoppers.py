"""Simulated shoppers: the purchases that they make of rows, and when a cart gets them."""

import random
from collections import Counter
from datetime import date
from itertools import islice

import pytest

from child_cart.model.partition import Partition
from child_cart.model.shopping import Shopping
from child_cart.model.task import SoldLine
from child_cart.shop.billing import CATALOGUE, index, price, sale_day
from demo.shoppers import MOST_LINES, batches, bills, codes_of, rows_wanted

CODES = codes_of({"items": [{"code": item.code, "category": item.category} for item in CATALOGUE]})


def rows_of(purchase):
    """Return the rows that a cart makes of a purchase."""
    bill = price(purchase.body["lines"], index(CATALOGUE))
    day = sale_day(purchase.body["sold_on"], date(2026, 1, 1))
    return [
        Shopping().sale_row(SoldLine(day, line.category, purchase.body["gender"], line.amount)) for line in bill.lines
    ]


def test_a_cart_makes_of_bills_the_rows_that_they_came_from():
    rows = Shopping().starter_rows(Partition(1, 4))[:400]
    made = []
    for purchase in islice(bills(rows, CODES, random.Random(1), "x"), 100):
        assert 1 <= len(purchase.body["lines"]) == purchase.rows <= MOST_LINES
        made += rows_of(purchase)
    assert len(made) > 150, "bills hold more than one line on average"
    as_words = [Counter(str(sorted(row.items())) for row in some) for some in (made, rows)]
    assert not as_words[0] - as_words[1], "every row comes from the given rows"


def test_bills_never_run_out_and_have_unique_ids():
    rows = Shopping().starter_rows(Partition(0, 4))[:7]
    made = list(islice(bills(rows, CODES, random.Random(1), "x"), 50))
    assert len({purchase.body["sale_id"] for purchase in made}) == 50


def test_batches_cycle_through_the_rows():
    first, second, third = islice(batches([{"n": n} for n in range(7)], "x"), 3)
    assert [row["n"] for batch in (first, second, third) for row in batch.body["rows"]] == [*range(7), *range(7), 0]
    assert len({first.body["batch_id"], second.body["batch_id"], third.body["batch_id"]}) == 3


def status(ended=0, waiting=0, stage="SERVING", running=None):
    rows = {"waiting": waiting, "dataset_size": 100, "total": 0}
    return {"stage": stage, "round": running, "rounds_ended": ended, "rows": rows}


def full(ended=0):
    return status(ended, 100)


@pytest.mark.parametrize(
    ("seen", "others", "limit", "wanted"),
    [
        (status(), [], 0, 10),
        (status(), [status(waiting=40)], 0, 10),
        (status(waiting=43), [status(waiting=40)], 0, 7),
        (status(waiting=60), [status(waiting=40)], 0, 0),
        (status(waiting=97), [status(waiting=94)], 0, 3),
        (status(waiting=97), [full(), status(stage="TRAINING")], 0, 3),
        (status(waiting=130), [], 0, 0),
        (status(stage="TRAINING"), [], 0, 0),
        (status(running={"number": 1}), [], 0, 0),
        (status(ended=2), [status(ended=1)], 0, 0),
        (status(ended=2), [status(ended=2), status(ended=3)], 0, 10),
        (status(ended=2), [], 3, 10),
        (status(ended=3), [], 3, 0),
    ],
)
def test_carts_are_filled_to_one_level_and_wait_for_each_other(seen, others, limit, wanted):
    assert rows_wanted(seen, [seen, *others], limit) == wanted
