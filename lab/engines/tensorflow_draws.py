"""Draw starting weights in JAX as TensorFlow draws them: a simulated cart then starts from the model of a real one.

Keras leaves draws to its backend, so that one seed gives other numbers in each. TensorFlow's come from the generator
Philox4x32-10 (Salmon et al., 2011), which is a few lines of NumPy and needs no TensorFlow, whose import takes seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from child_cart.model.arrays import Array

Words = NDArray[np.uint64]
"""Numbers of 32 bits, in 64 for their products."""

ROUNDS: Final = 10
MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS: Final = (0x9E3779B9, 0xBB67AE85)
LOW: Final = np.uint64(0xFFFFFFFF)
HIGH: Final = np.uint64(32)

# What TensorFlow adds: a first key, blocks between groups of draws that may be rejected, and a least number.
SEED_KEY: Final = (0x3EC8F720, 0x02461E29)
SEED_MODULUS: Final = 2**31 - 2
APART: Final = 256
LEAST: Final = np.float32(1e-7)
CUT: Final = 2.0
# Blocks a group of four truncated draws: of 32 normal ones, fewer than four within the cut are not to be expected.
TRIED: Final = 8


@contextmanager
def drawn_as_by_tensorflow() -> Iterator[None]:
    """Replace the draws of Keras on JAX until the block ends; those of float32, which models have unless told."""
    backend: Any = sys.modules["keras.src.backend.jax.random"]
    before = {name: getattr(backend, name) for name in ("uniform", "normal", "truncated_normal")}

    def uniform_as_there(
        shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
    ) -> Any:
        if not _is_float32(dtype):
            return before["uniform"](shape, minval, maxval, dtype, seed)
        low, high = np.float32(minval), np.float32(maxval)
        return _in_jax(uniform(shape, _numbers(seed)) * (high - low) + low)

    def as_there(standard: Callable[[Sequence[int], Sequence[int]], Array]) -> Callable[..., Any]:
        def draw(shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> Any:
            if not _is_float32(dtype):
                return before[standard.__name__](shape, mean, stddev, dtype, seed)
            return _in_jax(standard(shape, _numbers(seed)) * np.float32(stddev) + np.float32(mean))

        return draw

    backend.uniform = uniform_as_there
    backend.normal, backend.truncated_normal = as_there(normal), as_there(truncated_normal)
    try:
        yield
    finally:
        for name, draw in before.items():
            setattr(backend, name, draw)


def _is_float32(dtype: Any) -> bool:
    import keras  # noqa: PLC0415 - takes a second

    return str(dtype or keras.config.floatx()) == "float32"


def _numbers(seed: Any) -> list[int]:
    """Return the two numbers that TensorFlow takes for a seed of Keras."""
    from keras.src.random.seed_generator import draw_seed  # noqa: PLC0415 - takes a second

    return [int(number) % SEED_MODULUS for number in np.asarray(draw_seed(seed))]


def _in_jax(array: Array) -> Any:
    import jax  # noqa: PLC0415 - takes a second

    return jax.numpy.asarray(array)


def uniform(shape: Sequence[int], seed: Sequence[int]) -> Array:
    """Return float32 from 0 to below 1.

    Args:
        shape: of the result.
        seed: two numbers of 31 bits.
    """
    count = int(np.prod(shape))
    return _fractions(_blocks(np.arange(-(-count // 4)), seed)).reshape(-1)[:count].reshape(shape)


def normal(shape: Sequence[int], seed: Sequence[int]) -> Array:
    """Return standard normal float32; arguments as of ``uniform``."""
    count = int(np.prod(shape))
    return _normals(_blocks(np.arange(-(-count // 4)), seed)).reshape(-1)[:count].reshape(shape)


def truncated_normal(shape: Sequence[int], seed: Sequence[int]) -> Array:
    """Return standard normal float32 between -2 and 2; arguments as of ``uniform``."""
    count = int(np.prod(shape))
    groups = -(-count // 4)
    places = np.arange(groups)[:, None] * APART + np.arange(TRIED)
    drawn = _normals(_blocks(places.reshape(-1), seed)).reshape(groups, 4 * TRIED)
    # The first four of each group that are within the cut, in their order.
    order = np.argsort(np.abs(drawn) >= CUT, axis=1, kind="stable")[:, :4]
    return np.take_along_axis(drawn, order, axis=1).reshape(-1)[:count].reshape(shape)


def _blocks(places: NDArray[np.int64], seed: Sequence[int]) -> Words:
    """Return the blocks of the stream of a seed at these places: (places, 4)."""
    first = np.array([[seed[0], 0, seed[1], 0]], np.uint64)
    mixed = _philox(first, SEED_KEY)[0]
    counters = np.empty((len(places), 4), np.uint64)
    wide = places.astype(np.uint64)
    counters[:, 0], counters[:, 1] = wide & LOW, wide >> HIGH
    counters[:, 2:] = mixed[2:]
    return _philox(counters, (int(mixed[0]), int(mixed[1])))


def _philox(counters: Words, key: tuple[int, int]) -> Words:
    one, two, three, four = counters.T
    for turn in range(ROUNDS):
        keys = [np.uint64((part + turn * step) & int(LOW)) for part, step in zip(key, KEY_STEPS, strict=True)]
        left, right = one * np.uint64(MULTIPLIERS[0]), three * np.uint64(MULTIPLIERS[1])
        one, two, three, four = (
            (right >> HIGH) ^ two ^ keys[0],
            right & LOW,
            (left >> HIGH) ^ four ^ keys[1],
            left & LOW,
        )
    return np.stack([one, two, three, four], axis=1)


def _fractions(words: Words) -> Array:
    """Return the low 23 bits of each word as a float32 from 0 to below 1."""
    return (words & np.uint64(0x7FFFFF)).astype(np.float32) / np.float32(2**23)


def _normals(words: Words) -> Array:
    """Return two normal numbers for each two words, by the transformation of Box and Muller (1958)."""
    parts = _fractions(words).reshape(-1, 2)
    radius = np.sqrt(np.float32(-2) * np.log(np.maximum(parts[:, 0], LEAST)))
    angle = np.float32(2 * np.pi) * parts[:, 1]
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1)
