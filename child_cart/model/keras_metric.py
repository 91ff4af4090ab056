"""How a Keras model is measured: chosen by its loss and its output. Imports Keras, on any backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np

from .arrays import Array, Tree, mapped, rows_in
from .metric import Metric, MetricDirection
from .task_metrics import BinaryAccuracy, ClassAccuracy, MeanAbsoluteError, TaskMetric

CLASSES: Final = frozenset(
    {"categorical_crossentropy", "sparse_categorical_crossentropy", "categorical_focal_crossentropy"}
)
YES_OR_NO: Final = frozenset({"binary_crossentropy", "binary_focal_crossentropy"})
ERRORS: Final = frozenset(
    {
        *("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error"),
        *("mean_squared_logarithmic_error", "huber", "log_cosh"),
    }
)


def default_metric(model: Any, unit: str = "") -> TaskMetric:
    """Return how a compiled model is measured.

    - A softmax, or a cross-entropy of classes: accuracy of the highest score.
    - A binary cross-entropy: accuracy at the threshold 0.5, or 0 where the loss takes logits.
    - An error of numbers: the mean absolute error in this unit.
    - Several outputs, or any other loss: the loss as ``evaluate`` says it, without what layers add to it.

    Args:
        model: compiled and built.
        unit: of the targets, for errors; empty if it is not known.
    """
    outputs = getattr(model, "outputs", None) or [None]
    if len(outputs) > 1 or (isinstance(model.loss, dict | list | tuple) and len(model.loss) > 1):
        return CompiledLoss.of(model)
    loss, activation = _only(model.loss), _activation(outputs[0])
    name = _loss_name(loss, outputs[0])
    if name in CLASSES or activation == "softmax":
        return ClassAccuracy()
    if name in YES_OR_NO or (loss is None and activation == "sigmoid"):
        takes_logits = isinstance(loss, keras.losses.Loss) and loss.get_config().get("from_logits")
        return BinaryAccuracy(0.0) if takes_logits else BinaryAccuracy()
    if name in ERRORS or loss is None:
        return MeanAbsoluteError(unit)
    return CompiledLoss.of(model)


def name_in_export(model: Any, metric: TaskMetric) -> None:
    """Compile a model anew so that ``evaluate`` of its Keras file says the metric, where Keras has it.

    Other metrics that the model was compiled with stay.
    """
    own: Any = None
    if type(metric) is ClassAccuracy:
        own = "accuracy"
    elif type(metric) is BinaryAccuracy:
        own = keras.metrics.BinaryAccuracy(name="accuracy", threshold=metric.threshold)
    elif type(metric) is MeanAbsoluteError:
        own = keras.metrics.MeanAbsoluteError(name="mean_absolute_error")
    compiled = getattr(model, "_compile_config", None)
    if own is None or compiled is None or type(model).compile is not keras.Model.compile or model.loss is None:
        return
    config = dict(compiled.config)
    named = config.get("metrics") or []
    if not isinstance(named, list | tuple) or any(isinstance(one, dict | list | tuple) for one in named):
        return  # by output, in a form of the user's own
    names = {"acc", "mae", own if isinstance(own, str) else own.name}
    config["metrics"] = [own, *(one for one in named if getattr(one, "name", one) not in names)]
    model.compile(**{**config, "optimizer": model.optimizer})


@dataclass(frozen=True)
class _OutputLoss:
    name: str
    loss: Any
    weight: float


class CompiledLoss(TaskMetric):
    """The loss that a model was compiled with, summed over its outputs by their weights."""

    metric = Metric("loss", "", MetricDirection.LOWER)

    def __init__(self, parts: list[_OutputLoss]) -> None:
        self._parts = parts

    @classmethod
    def of(cls, model: Any) -> CompiledLoss:
        """Return the loss of a compiled model."""
        losses = model.loss
        names = list(getattr(model, "output_names", None) or [])
        if isinstance(losses, dict):
            names = [name for name in names if name in losses] or list(losses)
        count = len(names) or (len(losses) if isinstance(losses, list | tuple) else 1)
        names = names or [str(place) for place in range(count)]
        config = getattr(model, "_compile_config", None)
        weights = config.config.get("loss_weights") if config is not None else None
        parts = []
        for place, name in enumerate(names):
            loss, weight = _of_output(losses, place, name), _of_output(weights, place, name)
            if loss is not None:
                parts.append(_OutputLoss(name, _loss_object(loss), 1.0 if weight is None else float(weight)))
        return cls(parts)

    def losses(self, predictions: Tree, targets: Tree) -> Array:
        """Return the loss of each row: (rows,)."""
        total = np.zeros(rows_in(predictions))
        for place, part in enumerate(self._parts):
            found = np.asarray(_of_output(predictions, place, part.name))
            wanted = np.asarray(_of_output(targets, place, part.name))
            total += part.weight * _row_losses(part.loss, wanted, found)
        return total


def _row_losses(loss: Any, wanted: Array, found: Array) -> Array:
    def computed(targets: Array, predictions: Array) -> Array:
        tensors = mapped(lambda array: keras.ops.convert_to_tensor(array, dtype=loss.dtype), (targets, predictions))
        return np.asarray(keras.ops.convert_to_numpy(loss.call(*tensors)), np.float64)

    losses = computed(wanted, found)
    if losses.ndim == 0:  # a function that has taken the mean itself
        rows = range(len(found))
        losses = np.array([computed(wanted[row : row + 1], found[row : row + 1]) for row in rows])
    means: Array = losses.reshape(len(found), -1).mean(axis=1)
    return means


def _of_output(given: Any, place: int, name: str) -> Any:
    """Return what is given for an output: by name, by place, or one for all."""
    if isinstance(given, dict):
        return given.get(name)
    return given[place] if isinstance(given, list | tuple) else given


def _only(loss: Any) -> Any:
    while isinstance(loss, dict | list | tuple):
        (loss,) = loss.values() if isinstance(loss, dict) else loss
    return loss


def _loss_object(loss: Any) -> Any:
    found = keras.losses.get(loss)
    if isinstance(found, keras.losses.Loss):
        return found
    return _LossOfFunction(found)


class _LossOfFunction(keras.losses.Loss):  # type: ignore[misc]
    def __init__(self, function: Any) -> None:
        super().__init__(name=getattr(function, "__name__", "loss"))
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)


def _loss_name(loss: Any, output: Any) -> str:
    """Return Keras' own name of a loss, however it was given; empty for none, or a function of the user's."""
    if loss is None:
        return ""
    if str(loss).lower() in ("crossentropy", "ce"):  # as Keras chooses by the output
        is_column = output is not None and output.shape[-1] == 1
        return "binary_crossentropy" if is_column else "categorical_crossentropy"
    found = keras.losses.get(loss)
    function = getattr(found, "fn", found)
    is_of_keras = str(getattr(function, "__module__", "")).startswith("keras.")
    return str(getattr(function, "__name__", "")) if is_of_keras else ""


def _activation(output: Any) -> str:
    """Return the name of the function that an output has gone through; empty if that is not known."""
    layer = getattr(getattr(output, "_keras_history", None), "operation", None)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))
