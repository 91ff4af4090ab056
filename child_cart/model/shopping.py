"""The built-in tasks ``shopping`` and ``shopping-dense``: predict the category of a purchase from month and gender.

Inputs of a model are raw: the number of the month, and of the gender. What encodes them is part of the model, so a
file of it needs no other program to be used rightly.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from .arrays import Array
from .partition import Partition, partition_rows
from .task import InputField, KerasTask, Row, SoldLine, row_parsed_by, whole_number

CATEGORIES: Final = 6
CLASSES: Final = CATEGORIES + 1  # category 0 is not used
MONTHS: Final = 12
GENDERS: Final = 2
NOT_SAID: Final = 2
"""The gender of a shopper who did not say."""
DENSE_0_1: Final = "bbb9543be1e9c6c0e88380803869e828"
"""The signature of the task's model in version 0.1, which ``shopping-dense`` still has."""
STARTER_ROWS: Final = 10_000
EVALUATION_ROWS: Final = 300
TEST_ROWS: Final = 2000
"""Purchases that no cart ever sees; they measure the result of an experiment."""
FIRST_DAY: Final = date(2020, 1, 1)
LAST_DAY: Final = date(2023, 12, 31)
OWN_MONTHS: Final = 0.95
"""Fraction of a partition's rows that is of its own months."""


class Shopping(KerasTask):
    """Learn which category sells in which month to which gender."""

    name = "shopping"
    seed = 2020
    epochs = 20
    batch_size = 32
    input_fields = (
        InputField("month", "number of the month", {number: calendar.month_name[number] for number in range(1, 13)}),
        InputField("gender", "number of the answer", {0: "woman", 1: "man", NOT_SAID: "not said"}),
    )
    output_names = tuple(f"probability of category {number}" for number in range(CLASSES))
    kept_by: Mapping[str, str] = {DENSE_0_1: "shopping-dense"}

    def build_model(self) -> Any:
        """Return a network of 32 units that sees month and gender one-hot: 14 numbers, 0 or 1.

        A gender that was not said is no one of the two, so both of its numbers are 0.
        """
        import keras  # noqa: PLC0415 - takes seconds; only the trainer needs it

        raw = keras.Input((2,), name="month_and_gender")
        month, gender = (keras.ops.cast(raw[:, place], "int32") for place in (0, 1))
        encoded = [keras.ops.one_hot(month - 1, MONTHS), keras.ops.one_hot(gender, GENDERS)]
        values = keras.layers.Dense(32, activation="relu")(keras.layers.Concatenate()(encoded))
        model = keras.Model(raw, keras.layers.Dense(CLASSES, activation="softmax")(values))
        # Not Adam, for the reason that Digits gives: eight carts with 90 new rows a round reached 0.73 with it.
        model.compile(optimizer=keras.optimizers.SGD(1.0), loss="categorical_crossentropy")
        return model

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        """Return month (1-12), gender (0, 1, or 2: not said) and item (category 1-6)."""
        return row_parsed_by(
            {
                "month": lambda: whole_number(fields, "month", 1, MONTHS),
                "gender": lambda: whole_number(fields, "gender", 0, NOT_SAID),
                "item": lambda: whole_number(fields, "item", 1, CATEGORIES),
            }
        )

    def stored_row(self, row: Mapping[str, object]) -> Row:
        """Check a row that comes back from an export: rows are stored as they are parsed."""
        return self.parse_row(row)

    def sale_row(self, line: SoldLine) -> Row | None:
        """Return the row of a bill line."""
        return {"month": line.sold_on.month, "gender": line.gender, "item": line.category}

    def starter_rows(self, partition: Partition) -> list[Row]:
        """Return this partition of 10,000 purchases of 2020-2023: mainly a few months of the year."""
        rows = purchases(STARTER_ROWS, seed=1)
        if partition.count == 1:
            return rows
        months = [row["month"] - 1 for row in rows]
        return [rows[place] for place in partition_rows(months, MONTHS, partition, OWN_MONTHS, width=2.0, seed=2)]

    def evaluation_rows(self) -> list[Row]:
        """Return 300 purchases of all months that are among no cart's starter rows."""
        return purchases(EVALUATION_ROWS, seed=3)

    def test_rows(self) -> list[Row]:
        """Return 2,000 purchases that no cart ever sees."""
        return purchases(TEST_ROWS, seed=2024)

    def arrays(self, rows: Sequence[Row]) -> tuple[Array, Array]:
        """Return inputs (rows, 2): month and gender, as they are; targets (rows, 7), one-hot."""
        inputs = np.array([(row["month"], row["gender"]) for row in rows], np.float32).reshape(-1, 2)
        targets = np.eye(CLASSES, dtype=np.float32)[[row["item"] for row in rows]]
        return inputs, targets.reshape(-1, CLASSES)

    def summary(self, predict: Callable[[Array], Array]) -> dict[str, Any]:
        """Return ``trending``: for each month and gender, the expected fraction of each category."""
        people = [
            {"month": month, "gender": gender, "item": 0} for month in range(1, 13) for gender in (0, 1, NOT_SAID)
        ]
        inputs, _ = self.arrays(people)
        scores = predict(inputs)
        return {
            "trending": [
                {"month": person["month"], "gender": person["gender"], "shares": [round(float(s), 4) for s in row[1:]]}
                for person, row in zip(people, scores, strict=True)
            ]
        }


class ShoppingDense(Shopping):
    """The same with the model of version 0.1, to go on with it and to average with carts of that version.

    The name is that of ``Shopping``, since it is part of the model signature; the models differ in shape.
    """

    kept_by: Mapping[str, str] = {}

    def build_model(self) -> Any:
        """Return the 2-512-512-7 dense network.

        It sees month / 12, and gender as 0, 1, or 0.5 where it was not said.
        """
        import keras  # noqa: PLC0415 - as above

        raw = keras.Input((2,), name="month_and_gender")
        month, gender = raw[:, :1], raw[:, 1:]
        said = keras.ops.where(keras.ops.equal(gender, NOT_SAID), 0.5, gender)
        values = keras.layers.Concatenate()([month / MONTHS, said])
        for units in (512, 512):
            values = keras.layers.Dense(units, activation="relu")(values)
        model = keras.Model(raw, keras.layers.Dense(CLASSES, activation="softmax")(values))
        model.compile(optimizer="adam", loss="categorical_crossentropy")
        return model


def purchases(count: int, seed: int) -> list[Row]:
    """Return seeded purchases over the days of 2020-2023.

    Each pair of months (1-2, 3-4, ...) has a main category (1 to 6) and a main gender (0, 1, 0, ...). With probability
    0.8 a purchase is of the main category by the main gender; otherwise it is of one of the next two categories by the
    other gender. So no model reaches an accuracy above 0.9.
    """
    random = np.random.default_rng(seed)
    days = random.integers(0, (LAST_DAY - FIRST_DAY).days + 1, count)
    is_main = random.random(count) < 0.8
    steps = random.integers(1, 3, count)
    rows: list[Row] = []
    for day, main, step in zip(days.tolist(), is_main.tolist(), steps.tolist(), strict=True):
        month = (FIRST_DAY + timedelta(days=day)).month
        pair = (month - 1) // 2
        item = pair if main else (pair + step) % CATEGORIES
        gender = pair % 2 if main else 1 - pair % 2
        rows.append({"month": month, "gender": gender, "item": item + 1})
    return rows
