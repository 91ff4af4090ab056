"""Proves from a store's contents that nothing was lost, and nothing counted twice."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

from child_cart.db.records import Origin
from child_cart.db.store import HOLD_OUT_EVERY, Store
from child_cart.model.task import Row
from child_cart.model.weights_file import read_weights
from tests.soak.sold_task import row_of


def prove(store: Store, models: Path, sales: dict[str, list[int]], batches: dict[str, list[Row]], starter: int) -> None:
    """Raise ``AssertionError`` for the first thing that is wrong.

    Args:
        store: of a cart that does not run now.
        models: its folder of weights files.
        sales: amounts of each bill that was confirmed; others may be there too, whole.
        batches: rows of each batch that was confirmed.
        starter: how many rows the starter training has.
    """
    kept = list(store.every_sale())
    ids = Counter(sale.sale_id for sale in kept)
    assert [name for name, count in ids.items() if count > 1] == [], "sold twice"
    assert sales.keys() - ids.keys() == set(), "confirmed, and not there"
    assert store.sale_count() == len(kept)
    for sale in kept:
        if sale.sale_id in sales:
            assert sorted(line.amount for line in sale.lines) == sorted(sales[sale.sale_id])
    known = set(store.batch_ids())
    assert batches.keys() - known == set(), "a batch was confirmed, and is not there"

    rows = Counter(_key(entry.row) for entry in store.every_row())
    wanted = Counter(_key(row_of(line.amount)) for sale in kept for line in sale.lines)
    wanted += Counter(_key(row) for name in known & batches.keys() for row in batches[name])
    assert wanted - rows == Counter(), "rows are missing"
    if known == batches.keys():  # one that was never confirmed may be there: of that, only the cart knows the rows
        assert rows - wanted == Counter(), "rows are there twice"
    assert rows.total() == store.row_count()

    prove_training(store, models, starter)


def prove_training(store: Store, models: Path, starter: int) -> None:
    """Every row was trained on exactly once, or waits; the current model is whole."""
    versions = store.versions(1_000_000)[::-1]
    if not versions:
        assert store.waiting_count() == store.row_count()
        return
    assert [version.number for version in versions] == list(range(len(versions)))
    for before, after in pairwise(versions):
        assert after.copy_of is None, "a weights file was damaged"
        assert after.trained_from == before.trained_to
        spent = range(after.trained_from + 1, after.trained_to + 1)
        trained = sum(1 for number in spent if number % HOLD_OUT_EVERY)
        first = starter if after.origin is Origin.STARTER else 0
        assert after.samples - before.samples == trained + first
        assert bool(spent) == (after.origin is Origin.LOCAL)
    newest = versions[-1]
    waiting = [entry.sequence for entry in store.waiting_rows(10_000_000)]
    assert waiting == list(range(newest.trained_to + 1, store.row_count() + 1))
    assert read_weights(models / newest.file_name, newest.digest)


def _key(row: Row) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(row.items()))
