"""Make the TFLite bytes of a Keras model. Imports TensorFlow, so only the trainer process imports this module."""

from __future__ import annotations

import tempfile
from typing import Any

import tensorflow as tf

from .learner import ExportError


def tflite_bytes(model: Any) -> bytes:
    """Return a model as TFLite bytes, with TFLite's own operations alone.

    The file takes any number of rows at once. A recurrent layer cannot be converted for any number, so that a model
    with one takes one row at a time.

    Raises:
        ExportError: if TensorFlow cannot convert it.
    """
    try:
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    except Exception:  # the converter may raise anything, even from its C++ side
        return _of_one_row(model)


def _of_one_row(model: Any) -> bytes:
    try:
        row = [tf.TensorSpec((1, *part.shape[1:]), part.dtype, part.name) for part in model.inputs]
        with tempfile.TemporaryDirectory(prefix="tflite-") as folder:
            model.export(
                folder, format="tf_saved_model", input_signature=row if len(row) == 1 else [row], verbose=False
            )
            return bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ExportError(f"TensorFlow cannot convert this model to TFLite ({first_line[:200]}).") from error
