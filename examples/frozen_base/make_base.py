"""Make the base: train it on the digits 0 to 4, and write its weights. Run this once for a whole fleet."""

from pathlib import Path

import numpy as np

from child_cart.model.digits import Digits
from child_cart.model.partition import Partition

from .task import BASE, CLASSES, base_of

WIDTH = 1024
EPOCHS = 20


def make(path: Path = BASE, width: int = WIDTH) -> float:
    """Write a base of this width to a file; return its accuracy on the digits that it has learned."""
    import keras

    task = Digits()
    rows = [row for row in task.starter_rows(Partition()) if row["digit"] < CLASSES]
    test = [row for row in task.test_rows() if row["digit"] < CLASSES]
    keras.utils.set_random_seed(1)
    base = base_of(width)
    model = keras.Sequential([base, keras.layers.Dense(CLASSES, "softmax")])
    model.compile(keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*task.arrays(rows), epochs=EPOCHS, verbose=0)
    np.savez(path, **{str(place): array for place, array in enumerate(base.get_weights())})
    return float(model.evaluate(*task.arrays(test), verbose=0)[1])


if __name__ == "__main__":
    accuracy = make()
    print(f"{BASE} has {BASE.stat().st_size:,} bytes; accuracy on digits 0 to 4: {accuracy:.3f}.")
