"""Half precision on the wire: half the bytes, and no array loses more than its last digits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from child_cart.model.aggregation import AggregationError, average
from child_cart.model.arrays import fit, specs_of, widened
from child_cart.model.precision import LARGEST, SMALLEST_NORMAL, Precision, as_sent

SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
SINGLES = arrays.arrays(np.float32, SHAPES, elements=st.floats(-1e6, 1e6, width=32))


@given(SINGLES)
def test_no_element_is_off_by_more_than_a_2048th_of_the_largest(array):
    (sent,) = as_sent([array], Precision.HALF)
    assert fit([sent], specs_of([array]))
    (received,) = widened([sent], specs_of([array]))
    assert received.dtype == np.float32
    largest = np.abs(array).max(initial=0.0)
    assert np.abs(received.astype(float) - array).max(initial=0.0) <= largest * 2.0**-11
    in_range = largest == 0 or SMALLEST_NORMAL <= largest <= LARGEST
    assert sent.nbytes == (array.nbytes // 2 if in_range else array.nbytes)


@pytest.mark.parametrize("dtype", ["<f8", "<f2", "|i1", "<i8"])
def test_other_dtypes_are_sent_as_they_are(dtype):
    array = np.ones(3, dtype)
    assert as_sent([array], Precision.HALF)[0] is array


@pytest.mark.parametrize(
    ("sent", "expected", "does"),
    [
        *(("<f2", "<f4", True), ("<f4", "<f4", True), ("|i1", "<f2", True), ("<i4", "<f8", True)),
        *(("<f8", "<f4", False), ("<f4", "<f2", False), ("<i8", "<f4", False), ("<i8", "<f8", False)),
    ],
)
def test_what_an_array_can_stand_for(sent, expected, does):
    model = specs_of([np.zeros((2, 3), expected)])
    assert fit([np.zeros((2, 3), sent)], model) is does
    assert not fit([np.zeros((3, 2), sent)], model)
    assert not fit([], model)


def test_halves_are_averaged_in_the_precision_of_the_cart_s_own():
    own, peer = np.array([0.1, 0.2], np.float32), np.array([0.3, 0.5], np.float16)
    (merged,) = average([[own], [peer]], [1.0, 3.0])
    assert merged.dtype == np.float32
    assert merged == pytest.approx((own.astype(float) + 3 * peer.astype(float)) / 4, rel=1e-7)
    with pytest.raises(AggregationError, match="wider dtypes"):
        average([[peer], [own]], [1.0, 3.0])
