"""What a new task can learn from the columns of a CSV file. Reads and writes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cart_common.process.redaction import shown
from cart_common.process.settings import SettingError
from child_cart.model.task import Row

MOST_CLASSES: Final = 100


@dataclass(frozen=True)
class CsvColumns:
    """The columns of a CSV file, by their use in a task.

    Attributes:
        fields: those of numbers, each with its mean and its standard deviation.
        target: the one that is learned.
        classes: its values.
        left_out: neither numbers nor the target.
    """

    fields: dict[str, tuple[float, float]]
    target: str
    classes: tuple[str, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], target: str) -> CsvColumns:
        """Return the columns of these rows, whose values are texts.

        Args:
            rows: at least one.
            target: the column to learn; empty for the last one.

        Raises:
            SettingError: if there is no such column, it has one value or too many, or no other column is of numbers.
        """
        names = list(rows[0])
        named = [name for name in names if name == target.strip()] or [
            name for name in names if name.casefold() == target.strip().casefold()
        ]
        if target and len(named) != 1:
            raise SettingError(f"--target is {shown(target)!r}; it must be one of {', '.join(map(shown, names))}.")
        target = named[0] if named else names[-1]
        classes = tuple(sorted({row[target] for row in rows}))
        if not 2 <= len(classes) <= MOST_CLASSES:
            values = f"{len(classes):,} different value{'s' if len(classes) > 1 else ''}"
            raise SettingError(
                f"The column {shown(target)!r} has {values}; what is learned must have from 2 to {MOST_CLASSES}. "
                "Name another column with --target."
            )
        numbers = {name: _numbers([row[name] for row in rows]) for name in names if name != target}
        fields = {name: _spread(values) for name, values in numbers.items() if values is not None}
        if not fields:
            raise SettingError(
                f"No column but {shown(target)!r} has a number in every line: a model learns from numbers."
            )
        return cls(fields, target, classes, tuple(name for name, values in numbers.items() if values is None))

    def source(self, template: str) -> str:
        """Return the module of the template that names the fields, with these columns in it."""
        fields = "".join(f"    {json.dumps(name)}: {values},\n" for name, values in self.fields.items())
        classes = ", ".join(json.dumps(one) for one in self.classes)
        constants = {"FIELDS": f"{{\n{fields}}}", "TARGET": json.dumps(self.target), "CLASSES": f"({classes})"}
        lines = []
        for line in template.splitlines():
            name = line.partition(" = ")[0]
            lines.append(f"{name} = {constants[name]}" if name in constants else line)
        return "\n".join(lines) + "\n"


def _numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _spread(numbers: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation with four digits; a column that never changes has the deviation 1."""
    mean, deviation = float(np.mean(numbers)), float(np.std(numbers))
    return float(f"{mean:.4g}"), float(f"{deviation:.4g}") or 1.0
