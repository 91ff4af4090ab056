"""Encode, decode and average models in each precision of the wire: compare bytes and milliseconds.

The models are those of the tasks ``shopping-dense`` and ``digits``, and a dense network of 25 MB, with weights of
normal distribution. Decoding ends with arrays in single precision, as a received model is scored. Averaging takes the
cart's own model and three received payloads, decoding included. What a precision costs in accuracy is measured by the
laboratory: ``lab sweep --vary wire_precision=full,half,int8,int4``.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.machine import medians_s
from child_cart.model.aggregation import average
from child_cart.model.arrays import Array, Weights, bytes_of, specs_of, widened
from child_cart.model.codec import decode
from child_cart.model.precision import Precision, payload_of

LAYERS: Final = {"digits": (64, 256, 10), "shopping-dense": (2, 512, 512, 7), "25 MB": (2, 2500, 2500, 7)}
PEERS: Final = 3
REPEATS: Final = 11


def model_of(sides: tuple[int, ...]) -> list[Array]:
    """Return kernels and biases of a dense network with these sides."""
    random = np.random.default_rng(1)
    weights: list[Array] = []
    for inputs, units in pairwise(sides):
        weights.append((random.standard_normal((inputs, units)) / np.sqrt(inputs)).astype(np.float32))
        weights.append(np.zeros(units, np.float32))
    return weights


def received(payload: bytes, own: Weights) -> list[Array]:
    """Return the arrays of a payload as they are scored."""
    specs = specs_of(own)
    return widened(decode(payload, bytes_of(specs)), specs)


def averaged(own: Weights, payload: bytes) -> list[Array]:
    """Return the average of the own model and several received ones."""
    room = bytes_of(specs_of(own))
    return average([own, *(decode(payload, room) for _ in range(PEERS))], [1.0] * (PEERS + 1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"of each measurement (default: {REPEATS})")
    repeats = parser.parse_args().repeats
    columns = f"{'encode ms':>10} {'decode ms':>10} {'average ms':>11} {'error':>7}"
    print(f"{'model':>15} {'precision':>10} {'payload bytes':>14} {'of full':>8} {columns}")
    for name, sides in LAYERS.items():
        weights = model_of(sides)
        full_bytes = len(payload_of(weights, Precision.FULL))
        for precision in Precision:
            payload = payload_of(weights, precision)
            took_s = medians_s(
                {
                    "encode": partial(payload_of, weights, precision),
                    "decode": partial(received, payload, weights),
                    "average": partial(averaged, weights, payload),
                },
                repeats,
            )
            encode, decode_, average_ = (1000 * took_s[part] for part in ("encode", "decode", "average"))
            print(
                f"{name:>15} {precision:>10} {len(payload):>14,} {len(payload) / full_bytes:>8.3f} {encode:>10.2f} "
                f"{decode_:>10.2f} {average_:>11.2f} {relative_error(weights, received(payload, weights)):>7.4f}",
                flush=True,
            )


def relative_error(weights: Weights, found: Weights) -> float:
    """Return the root mean square of the errors, relative to that of the weights."""
    squares = sum(float(np.square(one - other).sum()) for one, other in zip(weights, found, strict=True))
    return float(np.sqrt(squares / sum(float(np.square(array).sum()) for array in weights)))


if __name__ == "__main__":
    main()
