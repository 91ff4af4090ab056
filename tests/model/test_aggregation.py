"""Averages are exact to the last bit that float32 has, whatever the order, and refuse what makes no sense."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from child_cart.model.aggregation import STACK_ELEMENTS, AggregationError, average, normalised

SHARES = st.floats(0, 1e6, allow_nan=False)
VALUES = hnp.arrays(np.float32, (4, 7), elements=st.floats(-1e6, 1e6, width=32))


@given(st.lists(st.tuples(VALUES, SHARES), min_size=1, max_size=6).filter(lambda e: any(s > 0 for _, s in e)))
@settings(max_examples=200)
def test_it_is_the_float64_average(entries):
    models, shares = [[values] for values, _ in entries], [share for _, share in entries]
    (result,) = average(models, shares)
    exact = sum(values.astype(np.float64) * part for (values,), part in zip(models, normalised(shares), strict=True))
    assert result.dtype == np.float32
    assert np.allclose(result, exact.astype(np.float32), rtol=1.2e-7, atol=1e-9)


@given(VALUES, st.lists(st.floats(0.1, 10), min_size=1, max_size=5))
def test_the_average_of_one_model_with_itself_is_that_model(values, shares):
    (result,) = average([[values]] * len(shares), shares)
    assert np.allclose(result, values, rtol=1.2e-7)


@given(st.lists(st.tuples(VALUES, st.floats(0.1, 10)), min_size=2, max_size=5), st.randoms())
def test_the_order_does_not_matter(entries, random):
    shuffled = entries.copy()
    random.shuffle(shuffled)
    results = [average([[v] for v, _ in some], [s for _, s in some])[0] for some in (entries, shuffled)]
    assert np.allclose(*results, rtol=1.2e-7, atol=1e-9)


@given(st.lists(SHARES, min_size=1, max_size=20).filter(lambda shares: max(shares) > 0))
def test_parts_sum_to_one(shares):
    assert math.isclose(math.fsum(normalised(shares)), 1.0, rel_tol=1e-12)


def test_several_tensors_across_block_borders():
    random = np.random.default_rng(1)
    sizes = [(STACK_ELEMENTS // 2 - 1,), (STACK_ELEMENTS // 2 + 3, 2), (), (0, 4)]
    models = [[random.standard_normal(size).astype(np.float32) for size in sizes] for _ in range(3)]
    for tensors, result in zip(zip(*models, strict=True), average(models, [1, 2, 5]), strict=True):
        assert np.allclose(result, np.average(tensors, axis=0, weights=[1, 2, 5]), rtol=1e-6, atol=1e-7)
        assert result.shape == tensors[0].shape


@pytest.mark.parametrize("count", [2, 20])
@pytest.mark.parametrize(("elements", "most_models"), [(250_000, 2.1), (1_000_000, 2.1), (8_000_000, 1.2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_memory_is_that_of_two_models_at_most(count, elements, most_models, dtype):
    model = [np.ones(elements * 4 // np.dtype(dtype).itemsize, dtype)]
    tracemalloc.start()
    average([model] * count, [1.0] * count)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < most_models * model[0].nbytes


def test_whole_numbers_and_halves_keep_their_dtype():
    (half,) = average([[np.ones(3, np.float16)], [np.zeros(3, np.float16)]], [1, 3])
    assert half.dtype == np.float16
    assert half.tolist() == [0.25] * 3
    (whole,) = average([[np.array([1, 5])], [np.array([2, 6])]], [1, 3])
    assert whole.tolist() == [2, 6]


@pytest.mark.parametrize("shares", [[0, 0], [-1, 2], [math.nan, 1], [math.inf, 1], [1], [1, 1, 1]])
def test_wrong_shares_are_refused(shares):
    with pytest.raises(AggregationError):
        average([[np.ones(2)], [np.ones(2)]], shares)


def test_wrong_models_are_refused():
    with pytest.raises(AggregationError, match="Model 2"):
        average([[np.ones(2)], [np.ones(3)]], [1, 1])
    with pytest.raises(AggregationError, match="Model 2"):
        average([[np.ones(2, np.float32)], [np.ones(2)]], [1, 1])
    with pytest.raises(AggregationError):
        average([], [])


def test_huge_shares_do_not_overflow():
    (result,) = average([[np.ones(2)], [np.zeros(2)]], [1e308, 1e308])
    assert result.tolist() == [0.5, 0.5]
