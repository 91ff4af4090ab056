"""Quantised arrays: no number is off by more than half a step of its channel, and small arrays stay as they are."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from child_cart.model import codec
from child_cart.model.precision import CODECS, Precision, as_sent, chosen, payload_of
from child_cart.model.quantisation import BITS, LARGEST, LEAST_CHANNEL, Quantised, can_be_quantised, quantised

KINDS = pytest.mark.parametrize("kind", BITS)
SHAPES = st.tuples(st.integers(LEAST_CHANNEL, 40), st.integers(1, 5))
MAGNITUDES = st.sampled_from([1e-44, 1e-30, 1e-6, 1.0, 1e6, LARGEST])


@st.composite
def matrices(draw):
    """Return arrays whose channels are of very different sizes, zero among them."""
    shape = draw(SHAPES)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    parts = draw(hnp.arrays(np.float64, shape, elements=st.floats(-1, 1, width=32)))
    sizes = draw(st.lists(MAGNITUDES | st.just(0.0), min_size=shape[1], max_size=shape[1]))
    return (parts * sizes).astype(dtype)


@KINDS
@given(array=matrices())
@example(array=np.zeros((16, 1), np.float32))
@example(array=np.full((17, 3), -LARGEST))
@settings(max_examples=300, deadline=None)
def test_no_number_is_off_by_more_than_half_a_step_of_its_channel(kind, array):
    assert can_be_quantised(array)
    (received,) = codec.decode(codec.encode([quantised(array, kind)]), array.size * 4)
    assert received.dtype == np.float32
    assert received.shape == array.shape
    largest = np.abs(array.astype(float)).max(axis=0)
    step = largest / (2 ** (BITS[kind] - 1) - 1) * (1 + 2.0**-7)
    # Below the smallest normal float32 the steps are those of float32 itself.
    bound = np.maximum(step / 2 * (1 + 1e-6), 2.0**-126)
    assert (np.abs(received.astype(float) - array) <= bound).all()


@KINDS
@given(array=matrices())
@settings(deadline=None)
def test_what_was_quantised_once_comes_back_nearly_the_same(kind, array):
    once = quantised(array, kind).array()
    twice = quantised(once, kind).array()
    step = np.maximum(np.abs(once).max(axis=0) / (2 ** (BITS[kind] - 1) - 1), 2.0**-126)
    assert (np.abs(twice.astype(float) - once) <= step * 0.51).all()


@KINDS
def test_codes_of_an_odd_number_of_elements_and_every_value(kind):
    most = 2 ** (BITS[kind] - 1) - 1
    array = np.arange(-most, most + 1, dtype=np.float32).reshape(-1, 1)
    if kind == "int4":
        array = np.concatenate([array, array])[:-1]  # 29 elements: the last byte is half full
    sent = quantised(array, kind)
    assert sent.packed.nbytes == 2 + -(-array.size * BITS[kind] // 8)
    assert np.rint(sent.array()) == pytest.approx(array)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((64, 256), 256), ((64, 1), 1), ((3, 3, 8, 16), 16), ((5, 5, 8, 1), 8), ((1000, 8), 8)],
)
def test_channels_are_those_of_the_outputs(shape, channels):
    assert quantised(np.ones(shape, np.float32), "int8").channels == channels


@pytest.mark.parametrize(
    ("array", "is_so"),
    [
        (np.ones((16, 3), np.float32), True),
        (np.ones((15, 3), np.float32), False),  # too few weights a channel
        (np.ones(1000, np.float32), False),  # biases and statistics
        (np.ones((), np.float32), False),
        (np.ones((0, 3), np.float32), False),
        (np.ones((16, 3), np.int64), False),
        (np.ones((16, 3), np.float16), False),
        (np.full((16, 3), np.nan, np.float32), False),
        (np.full((16, 3), np.inf, np.float32), False),
        (np.full((16, 3), 2e30, np.float32), False),
        (np.full((16, 3), -2e30, np.float32), False),
        (np.ones((3, 3, 8, 1), np.float32), False),  # a depthwise kernel with 9 weights a channel
    ],
)
def test_which_arrays_are_quantised(array, is_so):
    assert can_be_quantised(array) is is_so
    (sent,) = as_sent([array], Precision.INT4)
    assert isinstance(sent, Quantised) is is_so
    if array.dtype == np.float32 and not is_so and array.size and abs(float(array.max())) < 100:
        assert sent.dtype == np.float16


def test_a_receiver_gets_what_it_reads():
    for precision in Precision:
        assert chosen(precision, CODECS.values()) is precision
    assert chosen(Precision.INT4, ("float32", "int8")) is Precision.INT8
    assert chosen(Precision.INT8, ("float32", "int4", "float16")) is Precision.HALF
    assert chosen(Precision.HALF, ("float32", "int8")) is Precision.FULL
    assert chosen(Precision.INT8, ()) is Precision.FULL


def test_bytes_of_a_model():
    model = [np.ones((64, 256), np.float32), np.ones(256, np.float32)]
    sizes = [len(payload_of(model, p)) for p in (Precision.FULL, Precision.HALF, Precision.INT8, Precision.INT4)]
    spare = 256  # header, pickle and what lies between buffers
    for size, most in zip(sizes, (66_560, 33_280, 16_384 + 1024, 8192 + 1024), strict=True):
        assert most < size <= most + spare
