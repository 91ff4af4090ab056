"""The task: tell from half a second of vibration what is wrong with a machine."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from child_cart.model.arrays import Array
from child_cart.model.partition import Partition
from child_cart.model.task import KerasTask, Row, RowError, whole_number

from .vibration import BANDS, HEALTHY, STATES, Machine, spectra, vibration

MACHINES: Final = 24
STARTER_ROWS: Final = 160
"""Of each machine."""
EVALUATION_ROWS: Final = 240
TEST_ROWS: Final = 1200


class FailingMachines(KerasTask):
    """Learn to tell from the spectra of a vibration: healthy, unbalanced, a defect of the outer or the inner ring."""

    name = "failing-machines"
    seed = 11
    epochs, batch_size = 10, 8

    def build_model(self) -> Any:
        """Return a 64-64-4 dense network."""
        import keras

        model = keras.Sequential(
            [
                keras.Input((2 * BANDS,)),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(len(STATES), activation="softmax"),
            ]
        )
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
        return model

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        """Return bands (64 numbers) and state (0-3)."""
        bands = fields.get("bands")
        if not isinstance(bands, list) or len(bands) != 2 * BANDS:
            raise RowError(f"bands must be a list of {2 * BANDS} numbers")
        if not all(isinstance(band, int | float) and -100 < band < 100 for band in bands):
            raise RowError("bands must be numbers between -100 and 100")
        return {"bands": bands, "state": whole_number(fields, "state", 0, len(STATES) - 1)}

    def arrays(self, rows: Sequence[Row]) -> tuple[Array, Array]:
        """Return inputs (rows, 64), each about -2 to 2; targets (rows,), the states."""
        inputs = np.array([row["bands"] for row in rows], np.float32).reshape(-1, 2 * BANDS)
        return (inputs + 2) * 2, np.array([row["state"] for row in rows], np.int64)

    def starter_rows(self, partition: Partition) -> list[Row]:
        """Return the rows of this cart's own machines; more carts than machines share one."""
        machines = range(partition.index % MACHINES, MACHINES, min(partition.count, MACHINES))
        sharing = range(partition.index % MACHINES, partition.count, MACHINES)
        rows = [row for machine in machines for row in history(machine)]
        return rows[partition.index // MACHINES :: len(sharing)]

    def evaluation_rows(self) -> list[Row]:
        """Return rows of all machines in all states."""
        return measurements(EVALUATION_ROWS, seed=72)

    def test_rows(self) -> list[Row]:
        """Return rows of all machines in all states that no cart sees."""
        return measurements(TEST_ROWS, seed=73)


@cache
def history(machine: int) -> list[Row]:
    """Return what was measured on one machine: it was healthy half the time, and has failed in one way."""
    random = np.random.default_rng([71, machine])
    states = random.choice((HEALTHY, 1 + machine % (len(STATES) - 1)), STARTER_ROWS)
    return [measurement(machine, state, random) for state in states.tolist()]


@cache
def measurements(count: int, seed: int) -> list[Row]:
    """Return rows in which each machine and each state is equally likely."""
    random = np.random.default_rng(seed)
    drawn = zip(random.integers(0, MACHINES, count), random.integers(0, len(STATES), count), strict=True)
    return [measurement(int(machine), int(state), random) for machine, state in drawn]


def measurement(machine: int, state: int, random: np.random.Generator) -> Row:
    """Return one row."""
    bands = spectra(vibration(Machine.numbered(machine), state, random))
    return {"bands": bands.round(3).tolist(), "state": state}
