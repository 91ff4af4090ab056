"""The comparison: it uses the rows that a cart has really trained on, and the model that it really has."""

import time

from child_cart.db.records import ModelVersion, Origin, Outcome, RoundRecord
from child_cart.db.sqlite import SqliteStore
from child_cart.model.shopping import Shopping
from child_cart.model.weights_file import write_weights
from demo.fleet import cart_folder
from demo.references import kept_by, measured, rows_never_seen
from tests.support.carts.light_task import LightTask, points

LIGHT = LightTask()


def a_stopped_cart(folder, rows, weights):
    """Write the folder of a stopped cart that has trained twice and averaged once."""
    (folder / "models").mkdir(parents=True)
    digest = write_weights(folder / "models" / "m.h5", weights)
    store = SqliteStore(folder / "cart.db")
    store.record_rows("a", rows)
    steps = [
        (Origin.INITIAL, 0, 0),
        (Origin.STARTER, 0, 0),
        (Origin.LOCAL, 0, 20),
        (Origin.AGGREGATED, 20, 20),
        (Origin.LOCAL, 20, 30),
    ]
    for number, (origin, first, last) in enumerate(steps):
        store.add_version(
            ModelVersion(
                number=number,
                task="light",
                origin=origin,
                file_name="m.h5",
                digest=digest,
                signature="s",
                accuracy=0.5,
                samples=1,
                trained_from=first,
                trained_to=last,
                created_at=time.time(),
            )
        )
    store.save_round(RoundRecord("r", 1, 0.0, outcome=Outcome.AGGREGATED))
    store.save_round(RoundRecord("q", 2, 0.0, outcome=Outcome.NOT_ENOUGH_PEERS))
    store.close()


def test_the_rows_of_each_training_without_those_held_out(tmp_path):
    rows = points(35, seed=9)
    a_stopped_cart(tmp_path / "cart", rows, LIGHT.build_learner().weights())
    kept = kept_by(tmp_path / "cart", points(7, seed=1))
    assert [len(batch) for batch in kept.batches] == [7, 18, 9]  # five rows still wait
    assert list(kept.batches[1]) == [row for place, row in enumerate(rows[:20], 1) if place % 10]
    assert kept.averaged == 1
    assert len(kept.weights) == 2
    assert kept_by(tmp_path / "cart", []).averaged == 1, "reading has changed nothing"


def test_all_are_measured_on_the_same_rows(tmp_path):
    learner = LIGHT.build_learner()
    learner.train(*LIGHT.arrays(points(300, seed=5)), lambda *_: None)
    for number in (1, 2):
        a_stopped_cart(cart_folder(tmp_path, number), points(30, seed=number), learner.weights())
    *steps, results = measured(tmp_path, LIGHT, 2, 50)
    assert [step["done"] for step in steps] == [1, 2, 3]
    assert results["carts"][0]["rows"] == 50 + 27
    assert results["together_rows"] == 2 * 77
    assert results["carts"][0]["federated"] == results["carts"][1]["federated"] > 0.8
    assert results["together"] > 0.8


def test_a_cart_without_a_model_has_no_accuracy(tmp_path):
    a_stopped_cart(cart_folder(tmp_path, 1), points(30, seed=1), LIGHT.build_learner().weights())
    a_stopped_cart(cart_folder(tmp_path, 2), points(30, seed=2), LIGHT.build_learner().weights())
    (cart_folder(tmp_path, 2) / "models" / "m.h5").unlink()
    *_, results = measured(tmp_path, LIGHT, 2, 50)
    assert results["carts"][1]["federated"] is None


def test_no_cart_trains_on_the_rows_to_measure_on():
    assert rows_never_seen(LIGHT) == LIGHT.evaluation_rows()
    fresh = rows_never_seen(Shopping())
    assert len(fresh) == 2000
    assert fresh[:300] != Shopping().evaluation_rows()
