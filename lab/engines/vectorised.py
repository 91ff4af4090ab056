"""Train and measure many Keras models in one program: ``vmap`` over carts, in chunks of a fixed size, by JAX.

A chunk is padded to a size that follows from the number of rows. So a result depends on the model and its rows alone,
not on which others are computed beside it, nor on where.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np

from child_cart.model.arrays import Array, Weights
from child_cart.model.failure_words import reason_in
from child_cart.model.learner import epoch_orders, row_weights
from child_cart.model.task import KerasTask
from child_cart.model.task_metrics import metric_of
from child_cart.model.trainer_commands import Predict, Train

from .tensorflow_draws import drawn_as_by_tensorflow

T = TypeVar("T")
R = TypeVar("R")

CHUNK: Final = 32
"""Most models in a chunk."""
# A chunk has fewer models where each has more rows: the processor is busy with one, and the memory is bounded.
CHUNK_ROWS: Final = 2048
MANY_ROWS: Final = 256
"""As many rows are kept once for all models that are measured on them; fewer are stacked with those of other models."""


class CannotVectorise(Exception):
    """A task's models cannot be trained side by side; the message says why."""

    @classmethod
    def by(cls, error: Exception) -> CannotVectorise:
        """Return it with the reason that an error of the model, Keras or JAX gives."""
        # JAX explains at length after its first line.
        text = str(error).strip().splitlines() or ["no reason was given"]
        return cls(f"the model fails in JAX: {type(error).__name__}: {reason_in(text[0]).rstrip('.')}")


class Vectorised:
    """An engine for tasks with a Keras model that Keras itself trains; it starts from the weights of a real cart.

    Args:
        task: builds the model.

    Attributes:
        metric: how the task measures models.
        layout: what the weights are.

    Raises:
        CannotVectorise: if the task's learner is its own, the model cannot be built with JAX, or Keras runs on
            another backend here.
    """

    def __init__(self, task: KerasTask) -> None:
        if type(task).build_learner is not KerasTask.build_learner:
            raise CannotVectorise("the task builds a learner of its own")
        os.environ.setdefault("KERAS_BACKEND", "jax")
        import jax  # noqa: PLC0415 - takes a second; a run that trains one by one needs none
        import keras  # noqa: PLC0415 - as above

        from child_cart.model.keras_layout import KerasLayout  # noqa: PLC0415 - as above
        from child_cart.model.keras_metric import default_metric  # noqa: PLC0415 - as above

        if keras.backend.backend() != "jax":
            raise CannotVectorise(f"Keras was loaded with the backend {keras.backend.backend()} in this process")
        keras.utils.set_random_seed(task.seed)
        try:
            with drawn_as_by_tensorflow():
                model = task.build_model()
                if not model.built:
                    model.build((None, *task.sample_inputs().shape[1:]))
            if type(model).train_step is not keras.Model.train_step:
                raise CannotVectorise("the model has a training step of its own")
            if any(variable.dtype == "float64" for variable in model.variables):
                raise CannotVectorise("the model computes in double precision")
            model.optimizer.build(model.trainable_variables)
            variables = KerasLayout.of(model, task.personal_layers)
            program = _Program(model, variables.learned, task.epochs, task.batch_size, task.seed)
        except CannotVectorise:
            raise
        except Exception as error:  # the model's code is the user's, and may need TensorFlow
            raise CannotVectorise.by(error) from error
        self.metric = metric_of(task, default_metric(model, task.unit))
        self.layout = variables.layout
        self._class_weight = task.class_weight
        self._start = variables.weights()
        self._train = jax.jit(jax.vmap(program.train))
        self._predict = jax.jit(jax.vmap(program.predict))
        self._predict_shared = jax.jit(jax.vmap(program.predict, in_axes=(0, None)))
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="vectorised")

    def start(self) -> list[Array]:
        """Return the task's starting weights."""
        return self._start

    def train(self, wanted: Sequence[Train]) -> list[Weights]:
        """Train each model on its own rows."""
        # A program is compiled for each number of rows.
        groups = defaultdict(list)
        for place, one in enumerate(wanted):
            groups[one.inputs.shape, one.targets.shape].append(place)
        results: dict[int, Weights] = {}
        for (inputs_shape, _), places in groups.items():
            chunks = [[wanted[place] for place in chunk] for chunk in _chunks(places, inputs_shape[0])]
            for place, weights in zip(places, self._flat(self._trained, chunks), strict=True):
                results[place] = weights
        return [results[place] for place in range(len(wanted))]

    def predict(self, wanted: Sequence[Predict]) -> list[Array]:
        """Return the scores of each model."""
        groups: dict[tuple[int, int | None], list[int]] = defaultdict(list)
        for place, one in enumerate(wanted):
            rows = len(one.inputs)
            groups[_padded_count(rows), id(one.inputs) if rows >= MANY_ROWS else None].append(place)
        results: dict[int, Array] = {}
        for (rows, shared), places in groups.items():
            chunks = [[wanted[place] for place in chunk] for chunk in _chunks(places, rows)]
            compute = self._scored_apart if shared is None else self._scored_together
            for place, scores in zip(places, self._flat(compute, chunks), strict=True):
                results[place] = scores
        return [results[place] for place in range(len(wanted))]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _flat(self, compute: Callable[[list[T]], list[R]], chunks: Sequence[list[T]]) -> list[R]:
        return [result for results in self._threads.map(compute, chunks) for result in results]

    def _trained(self, chunk: list[Train]) -> list[Weights]:
        size = _chunk_size(len(chunk[0].inputs))
        new = self._train(
            _stacked([one.weights for one in chunk], size),
            _padded([one.inputs for one in chunk], size),
            _padded([one.targets for one in chunk], size),
            _padded([self._row_weights(one) for one in chunk], size),
        )
        arrays = [np.asarray(array) for array in new]
        return [[array[place].copy() for array in arrays] for place in range(len(chunk))]

    def _row_weights(self, one: Train) -> Array:
        weights = row_weights(one.targets, self._class_weight, one.sample_weights)
        return np.ones(len(one.inputs), np.float32) if weights is None else weights

    def _scored_together(self, chunk: list[Predict]) -> list[Array]:
        inputs = _with_rows(chunk[0].inputs)
        models = _stacked([one.weights for one in chunk], _chunk_size(len(inputs)))
        scores = np.asarray(self._predict_shared(models, inputs))
        return [scores[place, : len(one.inputs)] for place, one in enumerate(chunk)]

    def _scored_apart(self, chunk: list[Predict]) -> list[Array]:
        inputs = [_with_rows(one.inputs) for one in chunk]
        size = _chunk_size(len(inputs[0]))
        scores = np.asarray(self._predict(_stacked([one.weights for one in chunk], size), _padded(inputs, size)))
        return [scores[place, : len(one.inputs)] for place, one in enumerate(chunk)]


class _Program:
    """A training and a prediction of one model, as functions of arrays that JAX can compile."""

    def __init__(self, model: Any, learned: Sequence[Any], epochs: int, batch_size: int, seed: int) -> None:
        self._model = model
        self._dtypes = [variable.dtype for variable in learned]
        self._carried = [_carried(variable) for variable in learned]
        self._epochs = epochs
        self._batch_size = batch_size
        self._seed = seed
        self._fresh_optimizer = [variable.value for variable in model.optimizer.variables]
        self._fresh_others = [variable.value for variable in model.non_trainable_variables]
        places = {id(variable): (0, place) for place, variable in enumerate(model.trainable_variables)}
        places |= {id(variable): (1, place) for place, variable in enumerate(model.non_trainable_variables)}
        self._places = [places[id(variable)] for variable in learned]

    def train(self, weights: list[Any], inputs: Any, targets: Any, counts: Any) -> list[Any]:
        """Return the weights after a training as ``KerasLearner`` makes it."""
        import jax  # noqa: PLC0415 - see Vectorised

        orders = np.stack(epoch_orders(len(inputs), self._epochs, self._seed))
        full = len(inputs) // self._batch_size * self._batch_size
        step = partial(self._step, inputs, targets, counts)

        def epoch(state: Any, order: Any) -> tuple[Any, None]:
            batches = order[:full].reshape(-1, self._batch_size)
            state, _ = jax.lax.scan(step, state, batches)
            if full < len(inputs):
                state, _ = step(state, order[full:])
            return state, None

        state = (*self._taken_apart(weights), self._fresh_optimizer)
        (trainable, others, _), _ = jax.lax.scan(epoch, state, orders)
        return self._put_together(trainable, others)

    def predict(self, weights: list[Any], inputs: Any) -> Any:
        """Return the scores of the rows."""
        trainable, others = self._taken_apart(weights)
        return self._model.stateless_call(trainable, others, inputs, training=False)[0]

    def _step(self, inputs: Any, targets: Any, counts: Any, state: Any, order: Any) -> tuple[Any, None]:
        import jax  # noqa: PLC0415 - see Vectorised

        trainable, others, optimizer = state
        loss = jax.value_and_grad(self._model.compute_loss_and_updates, has_aux=True)
        (_, updates), gradients = loss(
            trainable,
            others,
            [],
            inputs[order],
            targets[order],
            counts[order],
            training=True,
            optimizer_variables=optimizer,
        )
        trainable, optimizer = self._model.optimizer.stateless_apply(optimizer, gradients, trainable)
        return (trainable, updates[2], optimizer), None

    def _taken_apart(self, weights: list[Any]) -> tuple[list[Any], list[Any]]:
        """Return the trainable and the other variables of a model with these weights; seeds of layers are fresh."""
        trainable, others = [None] * len(self._model.trainable_variables), list(self._fresh_others)
        kinds: tuple[list[Any], list[Any]] = (trainable, others)
        for (kind, place), dtype, array in zip(self._places, self._dtypes, weights, strict=True):
            kinds[kind][place] = array.astype(dtype)
        return trainable, others

    def _put_together(self, trainable: list[Any], others: list[Any]) -> list[Any]:
        kinds = (trainable, others)
        return [
            kinds[kind][place].astype(dtype) for (kind, place), dtype in zip(self._places, self._carried, strict=True)
        ]


def _carried(variable: Any) -> Any:
    from child_cart.model.keras_layout import carried_dtype  # noqa: PLC0415 - see Vectorised

    return carried_dtype(variable)


def _chunk_size(rows: int) -> int:
    return max(1, min(CHUNK, CHUNK_ROWS // max(rows, 1)))


def _chunks(places: Sequence[int], rows: int) -> list[Sequence[int]]:
    size = _chunk_size(rows)
    return [places[start : start + size] for start in range(0, len(places), size)]


def _stacked(models: Sequence[Weights], size: int) -> list[Array]:
    """Return each array of the models as one: (size, ...)."""
    return [_padded(arrays, size) for arrays in zip(*models, strict=True)]


def _padded(arrays: Sequence[Array], size: int) -> Array:
    """Return arrays of one shape as one: (size, ...); the last is repeated."""
    return np.stack([*arrays, *[arrays[-1]] * (size - len(arrays))])


def _with_rows(inputs: Array) -> Array:
    """Return rows, repeated up to one of few counts: a program is compiled for each count."""
    return np.resize(inputs, (_padded_count(len(inputs)), *inputs.shape[1:]))


def _padded_count(rows: int) -> int:
    power = 1 << max(rows - 1, 0).bit_length()
    return power if rows < MANY_ROWS else -(-rows // (power // 8)) * (power // 8)
