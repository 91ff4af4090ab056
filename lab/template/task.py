"""The task: how rows are checked and become arrays, which rows come with it, and the model that learns from them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from child_cart.model.arrays import Array
from child_cart.model.partition import Partition, partition_rows
from child_cart.model.task import KerasTask, Row, RowError

from .data import rows_for
from .fields import CLASSES, FIELDS, TARGET


class MyTask(KerasTask):
    """Learn to predict the class of a row from its numbers."""

    name = "my-task"  # carts with this name average with each other
    seed = 1  # of the starting weights, which are the same on every cart
    epochs, batch_size = 10, 16  # of one training, on the rows of one round

    def build_model(self) -> Any:
        """Return the compiled Keras model."""
        import keras  # here and not above: only the trainer process needs it

        model = keras.Sequential(
            [
                keras.Input((len(FIELDS),)),
                keras.layers.Dense(32, activation="relu"),
                keras.layers.Dense(len(CLASSES), activation="softmax"),
            ]
        )
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
        return model

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        """Check the fields of one observation, from a CSV file or a program; return them as a row."""
        row: Row = {name: number(fields, name) for name in FIELDS}
        row[TARGET] = str(fields.get(TARGET))
        if row[TARGET] not in CLASSES:
            raise RowError(f"{TARGET} is {row[TARGET][:40]!r}; it must be one of {', '.join(CLASSES)}")
        return row

    def arrays(self, rows: Sequence[Row]) -> tuple[Array, Array]:
        """Return inputs (rows, fields), most of them from -1 to 1, and targets (rows,), the numbers of the classes."""
        numbers = np.array([[row[name] for name in FIELDS] for row in rows]).reshape(-1, len(FIELDS))
        usual, spread = np.array(list(FIELDS.values())).T
        classes = np.array([CLASSES.index(row[TARGET]) for row in rows], np.int64)
        return ((numbers - usual) / spread).astype(np.float32), classes

    def starter_rows(self, partition: Partition) -> list[Row]:
        """Return the rows with which a cart begins: mainly one class, so that it cannot learn the others alone."""
        rows = self._rows_for("starter")
        classes = [CLASSES.index(row[TARGET]) for row in rows]
        return [rows[place] for place in partition_rows(classes, len(CLASSES), partition, 0.9, 1.0, seed=1)]

    def evaluation_rows(self) -> list[Row]:
        """Return rows on which every cart measures the models that it receives."""
        return self._rows_for("evaluation")

    def test_rows(self) -> list[Row]:
        """Return rows that no cart gets; they measure an experiment."""
        return self._rows_for("test")

    def _rows_for(self, use: str) -> list[Row]:
        return [self.parse_row(fields) for fields in rows_for(use)]


def number(fields: Mapping[str, object], name: str) -> float:
    """Return a field as a finite number; raise ``RowError`` for anything else."""
    try:
        value = float(fields[name])  # type: ignore[arg-type] # what cannot become a number raises TypeError
    except (KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise RowError(f"{name} is {str(fields.get(name))[:40]!r}; it must be a number")
    return value
