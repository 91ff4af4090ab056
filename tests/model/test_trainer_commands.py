"""The commands of a trainer as steps, without TensorFlow: what each asks for, writes and refuses."""

from pathlib import Path

import numpy as np
import pytest
from support.processes.programs import LIGHT_TASK

from child_cart.model.arrays import specs_of
from child_cart.model.codec import CodecError, encode
from child_cart.model.layout import Layout
from child_cart.model.metric import Metric, MetricDirection
from child_cart.model.mixing import PredictAll
from child_cart.model.model_files import DISK
from child_cart.model.partition import Partition
from child_cart.model.precision import Precision, as_sent
from child_cart.model.task import load_task
from child_cart.model.task_metrics import ClassAccuracy, TaskMetric
from child_cart.model.trainer_commands import Predict, Summarise, Train, TrainerCommands, model_signature
from child_cart.model.weights_file import WeightsError, read_weights

TASK = load_task(LIGHT_TASK)
LEARNER = TASK.build_learner()
START = LEARNER.weights()
ROWS = TASK.starter_rows(Partition())[:40]


def commands(**changes):
    given = {"partition": Partition(), "data": None, "starter_limit": 50, "initial": START, "metric": ClassAccuracy()}
    given |= {"layout": Layout()}
    given |= {"files": DISK, **changes}
    return TrainerCommands(TASK, **given)


def carried_out(steps):
    """Take the steps with a learner; return the result and the kinds of what was computed."""
    kinds, result = [], None
    try:
        while True:
            wanted = steps.send(result)
            kinds.append(type(wanted))
            if not isinstance(wanted, PredictAll):
                LEARNER.set_weights(wanted.weights)
            match wanted:
                case PredictAll(models=models, inputs=inputs):
                    result = [scores_of(weights, inputs) for weights in models]
                case Train(inputs=inputs, targets=targets):
                    LEARNER.train(inputs, targets, lambda *_: None)
                    result = LEARNER.weights()
                case Predict(inputs=inputs):
                    result = LEARNER.predict(inputs)
                case Summarise():
                    result = {"made": "summary"}
    except StopIteration as end:
        return end.value, kinds


def scores_of(weights, inputs):
    LEARNER.set_weights(weights)
    return LEARNER.predict(inputs)


@pytest.fixture
def base(tmp_path):
    result, kinds = carried_out(commands().initialise(str(tmp_path / "0.h5")))
    assert kinds == []
    assert result["parameters"] == sum(array.size for array in START)
    assert result["signature"] == model_signature(TASK.name, START)
    return {"path": str(tmp_path / "0.h5"), "digest": result["digest"]}


def put(path: Path, weights):
    path.write_bytes(encode(weights))
    return str(path)


def test_a_training_is_written_measured_and_summarised(base, tmp_path):
    result, kinds = carried_out(commands().train(base, ROWS, ROWS[:5], str(tmp_path / "1.h5")))
    # Own rows are checked; then: is it a ruin, and how good is it, by the common ones alone.
    assert kinds == [Train, Predict, PredictAll, Predict, Summarise]
    assert result["metric"] == {"name": "accuracy", "unit": "fraction", "direction": "higher"}
    assert (result["rows"], result["summary"]) == (40, {"made": "summary"})
    assert result["value"] > 0.6
    written = read_weights(tmp_path / "1.h5", result["digest"])
    assert not np.array_equal(written[0], START[0])


def test_old_rows_are_trained_on_and_counted_as_none(base, tmp_path):
    steps = commands().train(base, ROWS[:20], ROWS[:5], str(tmp_path / "1.h5"), ROWS[20:])
    wanted = next(steps)
    steps.close()
    assert len(wanted.inputs) == len(ROWS)
    result, _ = carried_out(commands().train(base, ROWS[:20], ROWS[:5], str(tmp_path / "1.h5"), ROWS[20:]))
    assert (result["rows"], result["faults"]) == (20, [])
    result, kinds = carried_out(commands().train(base, [], [], str(tmp_path / "2.h5"), ROWS))
    assert Train not in kinds, "without new rows there is nothing to train on"


def test_labels_of_the_old_model_are_trained_on_beside_the_rows_and_counted_as_none(base, tmp_path):
    target = str(tmp_path / "1.h5")
    steps = commands().train(base, ROWS[:20], [], target, labelled=7, seed=3)
    asked = next(steps)
    assert isinstance(asked, Predict)
    LEARNER.set_weights(START)
    says = np.eye(3, dtype=np.float32)[[2] * 7]
    wanted = steps.send(says)
    steps.close()
    assert np.array_equal(wanted.inputs[20:], asked.inputs)
    assert wanted.targets[20:].tolist() == [2] * 7, "not their own labels"
    assert wanted.targets[:20].tolist() == TASK.arrays(ROWS[:20])[1].tolist()
    result, _ = carried_out(commands().train(base, ROWS[:20], [], target, labelled=7, seed=3))
    assert (result["rows"], result["rehearsed"], result["faults"]) == (20, 7, [])


def test_a_metric_that_gives_no_labels_rehearses_none(base, tmp_path):
    class Own(TaskMetric):
        metric = Metric("distance", "", MetricDirection.LOWER)

        def losses(self, predictions, targets):
            return np.zeros(len(targets))

    result, _ = carried_out(commands(metric=Own()).train(base, ROWS[:20], [], str(tmp_path / "1.h5"), labelled=7))
    assert (result["rows"], result["rehearsed"]) == (20, 0)


def test_a_training_without_rows_trains_nothing(base, tmp_path):
    result, kinds = carried_out(commands().train(base, [], [], str(tmp_path / "1.h5")))
    assert kinds == [Predict, Summarise]
    assert np.array_equal(read_weights(tmp_path / "1.h5", result["digest"])[0], START[0])


def test_the_start_trains_on_no_more_starter_rows_than_its_limit(base, tmp_path):
    result, _ = carried_out(commands(starter_limit=7).start(base, [], str(tmp_path / "1.h5")))
    assert result["rows"] == 7
    (tmp_path / "own.csv").write_text("degrees,third\n10,0\n200,1\n300,2\n")
    result, _ = carried_out(commands(data=tmp_path / "own.csv").start(base, [], str(tmp_path / "1.h5")))
    assert result["rows"] == 3


def test_a_received_model_is_scored_in_the_dtypes_of_the_task(base, tmp_path):
    path = put(tmp_path / "one", as_sent(START, Precision.HALF))
    result, kinds = carried_out(commands().score(base, path))
    assert kinds == [Predict]
    assert 0 <= result["value"] <= 1


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ([array * np.nan for array in START], "NOT_FINITE"),
        ([array + 1e7 for array in START], "HUGE_WEIGHTS"),
        ([array.T for array in START], "WRONG_SHAPE"),
        (START[:1], "WRONG_SHAPE"),
        ([np.full(array.shape, 1 << 60) for array in START], "WRONG_SHAPE"),
    ],
)
def test_a_bad_model_is_named_and_never_computed_with(base, tmp_path, weights, reason):
    result, kinds = carried_out(commands().score(base, put(tmp_path / "one", weights)))
    assert (result, kinds) == ({"reason": reason}, [])


def test_a_payload_of_other_bytes_is_an_error(base, tmp_path):
    (tmp_path / "one").write_bytes(b"nothing")
    with pytest.raises(CodecError):
        carried_out(commands().score(base, str(tmp_path / "one")))


def mixed(base, tmp_path, others, aggregator="uniform", task_commands=None, earlier=None, **changes):
    received = [{"path": put(tmp_path / f"{place}", other), "samples": None} for place, other in enumerate(others)]
    given = {"momentum": 0.0, "earlier": earlier, **changes}
    steps = (task_commands or commands()).mix(
        {**base, "samples": 10}, received, [], str(tmp_path / "2.h5"), aggregator, **given
    )
    return carried_out(steps)


def test_a_mix_that_is_not_worse_is_written(base, tmp_path):
    other = [array + 0.5 for array in START]
    result, _ = mixed(base, tmp_path, [other])
    assert np.allclose(read_weights(tmp_path / "2.h5", result["written"]["digest"])[0], START[0] + 0.25)
    assert result["left_out"] == []


def test_a_mix_that_is_worse_is_not_written(base, tmp_path):
    good, _ = carried_out(commands().train(base, ROWS * 5, [], str(tmp_path / "1.h5")))
    trained = {"path": str(tmp_path / "1.h5"), "digest": good["digest"]}
    flipped = [-array for array in read_weights(tmp_path / "1.h5", good["digest"])]
    result, _ = mixed(trained, tmp_path, [flipped, [1.01 * array for array in flipped]])
    assert "written" not in result
    assert result["value"] < result["own_value"]
    assert not (tmp_path / "2.h5").exists()


def test_momentum_goes_on_in_the_direction_of_the_round_before(base, tmp_path):
    step = [np.array(array) + 0.25 for array in START]
    carried_out(commands().adopt(base, put(tmp_path / "step", step), str(tmp_path / "1.h5")))
    stepped = {"path": str(tmp_path / "1.h5"), "digest": DISK.write(tmp_path / "1.h5", step)}
    result, _ = mixed(stepped, tmp_path, [step], momentum=0.5, earlier=[stepped, base])
    written = read_weights(tmp_path / "2.h5", result["written"]["digest"])
    assert np.allclose(written[0], step[0] + 0.5 * (step[0] - START[0]))


def test_an_adopted_model_is_written_as_the_tasks(base, tmp_path):
    path = put(tmp_path / "one", as_sent([array + 1 for array in START], Precision.HALF))
    result, _ = carried_out(commands().adopt(base, path, str(tmp_path / "3.h5")))
    written = read_weights(tmp_path / "3.h5", result["written"]["digest"])
    assert specs_of(written) == specs_of(START)
    assert np.allclose(written[0], 1)


def test_a_model_that_is_worse_than_the_own_one_is_not_adopted(base, tmp_path):
    good, _ = carried_out(commands().train(base, ROWS * 5, [], str(tmp_path / "1.h5")))
    trained = {"path": str(tmp_path / "1.h5"), "digest": good["digest"]}
    flipped = [-array for array in read_weights(tmp_path / "1.h5", good["digest"])]
    result, _ = carried_out(commands().adopt(trained, put(tmp_path / "one", flipped), str(tmp_path / "3.h5")))
    assert result["value"] < result["own_value"]
    assert "written" not in result


def test_a_flood_of_wrong_rows_is_not_kept_and_an_honest_training_is(base, tmp_path):
    good, _ = carried_out(commands().train(base, ROWS * 5, [], str(tmp_path / "1.h5")))
    trained = {"path": str(tmp_path / "1.h5"), "digest": good["digest"]}
    assert good["ruined_value"] is None
    wrong = [{**row, "third": (row["third"] + 1) % 3} for row in ROWS * 5]
    result, _ = carried_out(commands().train(trained, wrong, [], str(tmp_path / "2.h5")))
    assert result["ruined_value"] < result["value"] == good["value"]
    kept = read_weights(tmp_path / "2.h5", result["digest"])
    assert all(map(np.array_equal, kept, read_weights(tmp_path / "1.h5", good["digest"])))
    one_class = [row for row in ROWS if row["third"] == 1]
    honest, _ = carried_out(commands().train(trained, one_class * 20, [], str(tmp_path / "3.h5")))
    assert honest["ruined_value"] is None


def test_weights_that_a_training_has_spoilt_are_never_written(base, tmp_path):
    steps = commands().train(base, ROWS, [], str(tmp_path / "1.h5"))

    def spoilt(steps):
        wanted = next(steps)
        while True:  # however the rows are parted, it is not they
            answers = LEARNER.predict(wanted.inputs)
            wanted = steps.send(answers if isinstance(wanted, Predict) else [array * np.nan for array in START])

    with pytest.raises(WeightsError, match=r"NOT_FINITE.*extreme number"):
        spoilt(steps)
    assert not (tmp_path / "1.h5").exists()


def test_a_stored_model_of_other_shapes_asks_for_a_reset(base):
    wider = commands(initial=[np.zeros((3, 3), np.float32)])
    with pytest.raises(WeightsError, match="Reset the model"):
        carried_out(wider.train(base, ROWS, [], "unused"))


def test_without_common_rows_own_versions_are_measured_on_own_rows_and_received_models_are_not(
    base, tmp_path, monkeypatch
):
    monkeypatch.setattr(TASK, "evaluation_rows", list)
    result, kinds = carried_out(commands().train(base, ROWS, ROWS[:5], str(tmp_path / "1.h5")))
    assert kinds == [Train, Predict, PredictAll, Predict, Summarise]  # they are checked, and measure
    assert result["value"] > 0.6
    score, kinds = carried_out(commands().score(base, put(tmp_path / "one", START)))
    assert (score, kinds) == ({"value": None}, [])


def test_without_any_rows_to_measure_on_nothing_is_measured(base, tmp_path, monkeypatch):
    monkeypatch.setattr(TASK, "evaluation_rows", list)
    result, kinds = carried_out(commands().train(base, ROWS, [], str(tmp_path / "1.h5")))
    assert (result["value"], kinds) == (None, [Train, Summarise])


class Squares(TaskMetric):
    """A task's own metric, of which one model makes infinity."""

    metric = Metric("squared error", "m²", MetricDirection.LOWER)

    def losses(self, predictions, targets):
        return np.where(predictions.argmax(axis=-1) == 0, np.inf, 0.25)


def test_a_model_whose_predictions_cannot_be_measured_is_dropped_and_never_kept(base, tmp_path):
    own = commands(metric=Squares())
    result, _ = carried_out(own.score(base, put(tmp_path / "one", START)))
    assert result == {"reason": "NOT_FINITE"}
    with pytest.raises(WeightsError, match="squared error is inf"):
        carried_out(own.train(base, [], [], str(tmp_path / "1.h5")))
