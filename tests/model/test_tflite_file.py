"""Recurrent models become TFLite files that any interpreter runs, and say what the model says."""

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated", "ignore::DeprecationWarning")


@pytest.mark.parametrize("layer", ["LSTM", "GRU"])
def test_a_recurrent_model_takes_one_row_at_a_time(layer):
    import keras
    import tensorflow as tf

    from child_cart.model.tflite_file import tflite_bytes

    recurrent = getattr(keras.layers, layer)(4)
    model = keras.Sequential([keras.Input((3, 2)), recurrent, keras.layers.Dense(2, "softmax")])
    phone = tf.lite.Interpreter(model_content=tflite_bytes(model))
    phone.allocate_tensors()
    rows = np.random.default_rng(1).normal(size=(2, 3, 2)).astype(np.float32)
    said = model.predict(rows, verbose=0)
    for row, expected in zip(rows, said, strict=True):
        phone.set_tensor(phone.get_input_details()[0]["index"], row[None])
        phone.invoke()
        assert np.allclose(phone.get_tensor(phone.get_output_details()[0]["index"])[0], expected, atol=1e-5)
