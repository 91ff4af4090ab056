"""What a task measures: figures that a reader can check by hand, a loss for each row, and a direction."""

import numpy as np
import pytest

from child_cart.model.arrays import joined
from child_cart.model.metric import ACCURACY, Metric, MetricDirection
from child_cart.model.rehearsal import drawn_rows, with_labels
from child_cart.model.task import KerasTask
from child_cart.model.task_metrics import BinaryAccuracy, ClassAccuracy, MeanAbsoluteError, TaskMetric, metric_of

SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], np.float32)
RIGHT = np.array([1, 0, 0, 0])  # three of four


@pytest.mark.parametrize("targets", [RIGHT, RIGHT.reshape(-1, 1), np.eye(2)[RIGHT], RIGHT.astype(np.float32)])
def test_classes_are_sparse_or_one_hot(targets):
    assert ClassAccuracy().losses(SCORES, targets).tolist() == [0, 0, 1, 0]
    assert ClassAccuracy().value(SCORES, targets) == 0.75


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1)])
def test_of_one_label_a_step_each_step_counts(shape):
    steps = SCORES.reshape(2, 2, 2)
    assert ClassAccuracy().losses(steps, RIGHT.reshape(shape)).tolist() == [0, 0.5]
    assert ClassAccuracy().value(steps, RIGHT.reshape(shape)) == 0.75


@pytest.mark.parametrize("scores", [[0.9, 0.1, 0.6, 0.4], [[0.9], [0.1], [0.6], [0.4]]])
@pytest.mark.parametrize("targets", [[1, 0, 0, 0], [[1.0], [0.0], [0.0], [0.0]], [True, False, False, False]])
def test_one_unit_answers_yes_above_its_threshold(scores, targets):
    assert BinaryAccuracy().value(np.array(scores), np.array(targets)) == 0.75
    assert BinaryAccuracy(0.0).value(np.array(scores) - 0.5, np.array(targets)) == 0.75


def test_several_labels_count_one_by_one():
    assert BinaryAccuracy().losses(SCORES, np.ones((4, 2))).tolist() == [0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("targets", [[1.0, 4.0], [[1.0], [4.0]]])
@pytest.mark.parametrize("found", [[2.0, 1.0], [[2.0], [1.0]]])
def test_an_error_is_in_the_unit_of_the_targets_and_lower_is_better(found, targets):
    metric = MeanAbsoluteError("mm")
    assert metric.losses(np.array(found), np.array(targets)).tolist() == [1, 3]  # not 2 x 2 differences
    assert metric.value(np.array(found), np.array(targets)) == 2
    assert metric.metric == Metric("mean absolute error", "mm", MetricDirection.LOWER)


def test_the_only_output_may_have_a_name():
    assert MeanAbsoluteError().value({"load": np.array([[1.0]])}, {"load": np.array([3.0])}) == 2


@pytest.mark.parametrize("metric", [ClassAccuracy(), BinaryAccuracy()])
def test_the_value_follows_from_the_losses_of_the_rows(metric):
    assert metric.value_of(np.array([0, 1, 1, 0.0])) == 0.5
    assert metric.value_of(np.zeros(3)) == 1


def test_a_task_may_bring_its_own():
    class Own(ClassAccuracy):
        metric = Metric("hits", "", MetricDirection.HIGHER)

    class Task(KerasTask):
        metric = Own()

    assert metric_of(Task(), MeanAbsoluteError()).metric.name == "hits"
    assert metric_of(KerasTask(), MeanAbsoluteError("mm")).metric.unit == "mm"
    assert metric_of(KerasTask(), None).metric is ACCURACY
    Task.metric = "accuracy"
    with pytest.raises(TypeError, match="'accuracy'; it must be a TaskMetric"):
        metric_of(Task(), None)


def test_which_value_is_better_follows_from_the_direction():
    error = Metric("error", "g", MetricDirection.LOWER)
    assert (error.best([1, 2]), error.worst([1, 2])) == (1, 2)
    assert (ACCURACY.best([1, 2]), ACCURACY.worst([1, 2])) == (2, 1)
    assert error.gain(1.0, than=3.0) == 2
    assert error.gain_points(1.0, than=4.0) == 75
    assert ACCURACY.gain_points(0.5, than=0.25) == 25
    assert error.weight(2.0) == 2 * error.weight(4.0)
    assert ACCURACY.weight(None) == error.weight(None) == 0


def test_words_have_name_value_and_unit():
    assert ACCURACY.words(0.9051) == "accuracy 0.905"
    assert Metric("error", "mm", MetricDirection.LOWER).words(1234.5678) == "error 1235 mm"
    assert ACCURACY.words(None) == "accuracy not measured"
    assert Metric("error", "mm", MetricDirection.LOWER).title == "error in mm (lower is better)"


def test_a_metric_comes_back_from_json():
    assert Metric.of(ACCURACY.as_json()) == ACCURACY
    assert isinstance(MeanAbsoluteError(), TaskMetric)


@pytest.mark.parametrize("targets", [RIGHT, RIGHT.reshape(-1, 1), np.eye(2, dtype=np.float32)[RIGHT]])
def test_labels_of_classes_are_what_the_model_says_in_the_form_of_the_targets(targets):
    labels = ClassAccuracy().labels(SCORES, targets)
    assert (labels.shape, labels.dtype) == (targets.shape, targets.dtype)
    assert ClassAccuracy().value(SCORES, labels) == 1.0
    steps = ClassAccuracy().labels(SCORES.reshape(2, 2, 2), RIGHT.reshape(2, 2))
    assert steps.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(("targets", "no"), [([1, 0, 0], 0), ([[1.0], [0.0], [0.0]], 0), ([1, -1, -1], -1)])
def test_labels_of_one_unit_are_its_answers(targets, no):
    labels = BinaryAccuracy().labels(np.array([[0.9], [0.6], [0.1]]), np.array(targets))
    assert labels.ravel().tolist() == [1, 1, no]
    assert labels.shape == np.shape(targets)


def test_labels_of_numbers_are_the_numbers():
    labels = MeanAbsoluteError().labels(np.array([[2.5], [1.0]], np.float32), np.array([1, 4.0]))
    assert labels.tolist() == [2.5, 1.0]


def test_a_metric_of_ones_own_gives_no_labels_unless_it_says_how():
    class Own(ClassAccuracy):
        labels = TaskMetric.labels

    assert Own().labels(SCORES, RIGHT) is None
    arrays = (SCORES, RIGHT, np.ones(4))
    assert with_labels(Own(), arrays, SCORES) == ()
    assert with_labels(ClassAccuracy(), (SCORES, (RIGHT, RIGHT)), (SCORES, SCORES)) == (), "of several outputs"
    inputs, labels, weights = with_labels(ClassAccuracy(), (SCORES, {"out": RIGHT}, arrays[2]), [SCORES])
    assert (inputs is SCORES, labels["out"].tolist(), weights is arrays[2]) == (True, [1, 0, 1, 0], True)


def test_rows_of_both_are_joined_in_any_form():
    first, second = ({"a": SCORES, "b": SCORES[:, 0]}, RIGHT), ({"a": SCORES[:2], "b": SCORES[:2, 0]}, RIGHT[:2])
    inputs, targets = joined(first, second)
    assert (inputs["a"].shape, inputs["b"].shape, targets.tolist()) == ((6, 2), (6,), [1, 0, 0, 0, 1, 0])
    assert joined(first, ()) is first


@pytest.mark.parametrize("most", [0, 3, 99])
def test_rows_to_label_are_drawn_by_the_seed(most):
    rows = [{"n": n} for n in range(20)]
    drawn = drawn_rows(rows, most, 7)
    assert drawn == drawn_rows(rows, most, 7)
    assert len({row["n"] for row in drawn}) == len(drawn) == min(most, 20)
    assert most != 3 or drawn != drawn_rows(rows, most, 8)
