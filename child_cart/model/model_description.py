"""What a file of a model says about its inputs and outputs: one JSON text, which any program for ZIP archives reads.

A Keras file is a ZIP archive. To a TFLite file one is appended, as TFLite's own metadata do with files that belong to
a model; interpreters read what is before it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .task import InputField, KerasTask

FILE_NAME: Final = "model_description.json"


def describe(path: Path, task: KerasTask) -> None:
    """Add the description of the task's model to a Keras or a TFLite file."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FILE_NAME, json.dumps(description(task), indent=2))


def description(task: KerasTask) -> dict[str, Any]:
    """Return name, unit and allowed values of each number of an input, in their order, and names of the output's."""
    return {
        "task": task.name,
        "inputs": [_described(field) for field in task.input_fields],
        "outputs": list(task.output_names),
    }


def _described(field: InputField) -> dict[str, Any]:
    described = {"name": field.name, "unit": field.unit}
    if isinstance(field.values, Mapping):
        return {**described, "values": {str(value): meaning for value, meaning in field.values.items()}}
    lowest, highest = field.values
    return {**described, "lowest": lowest, "highest": highest}
