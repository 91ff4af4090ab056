"""The task holds together: its rows pass its own check, its arrays fit its model, and a training teaches something."""

import unittest
from functools import partial

import numpy as np

from child_cart.model.partition import Partition
from child_cart.model.task import RowError, checked_row

from .fields import CLASSES, FIELDS, TARGET
from .task import MyTask


class MyTaskTest(unittest.TestCase):
    """Tests of ``MyTask``."""

    def setUp(self) -> None:
        """Build the task."""
        self.task = MyTask()

    def test_rows_are_kept_as_they_are(self) -> None:
        """Each row passes the check of rows from outside, and comes back equal; so does one of texts."""
        row = self.task.starter_rows(Partition())[0]
        self.assertEqual(checked_row(self.task, row), row)
        self.assertEqual(checked_row(self.task, {name: str(value) for name, value in row.items()}), row)

    def test_wrong_rows_are_refused(self) -> None:
        """A missing field, a text for a number and an unknown class are refused."""
        row = self.task.test_rows()[0]
        for name, value in [(next(iter(FIELDS)), "nan"), (next(iter(FIELDS)), None), (TARGET, "no such class")]:
            self.assertRaises(RowError, partial(self.task.parse_row, {**row, name: value}))

    def test_partitions_divide_the_starter_rows(self) -> None:
        """Four carts have all starter rows together, the same ones each time."""
        parts = [self.task.starter_rows(Partition(index, 4)) for index in range(4)]
        self.assertEqual(sum(map(len, parts)), len(self.task.starter_rows(Partition())))
        self.assertEqual(parts[1], self.task.starter_rows(Partition(1, 4)))

    def test_it_learns(self) -> None:
        """Arrays have the shapes that the model wants, and the loss falls in a training."""
        inputs, targets = self.task.arrays(self.task.starter_rows(Partition()))
        self.assertEqual(inputs.shape, (len(targets), len(FIELDS)))
        learner = self.task.build_learner()
        for one, same in zip(learner.weights(), self.task.build_learner().weights(), strict=True):
            np.testing.assert_array_equal(one, same, "the starting weights must be the same on every cart")
        self.assertEqual(learner.predict(inputs[:5]).shape, (5, len(CLASSES)))
        losses: list[float] = []
        learner.train(inputs, targets, lambda epoch, epochs, loss: losses.append(loss))
        self.assertLess(losses[-1], losses[0])


if __name__ == "__main__":
    unittest.main()
