"""Shares depend on the facts of models alone, follow the models in any order, and are never all zero."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.config import CartSettings
from child_cart.model.aggregation import normalised
from child_cart.model.aggregation.base import ModelFacts
from child_cart.model.aggregation.registry import DEFAULT_RULE, RULES

ROOT = Path(__file__).resolve().parents[2]
FACTS = st.builds(ModelFacts, st.floats(0, 1), st.none() | st.integers(0, 2**53 - 1))
SEVERAL = st.lists(FACTS, max_size=8)
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


@every_rule
@given(own=FACTS, received=SEVERAL)
def test_there_is_a_share_for_each_model_and_they_sum_to_one(rule, own, received):
    shares = rule.shares(own, received)
    assert len(shares) == 1 + len(received)
    assert math.isclose(math.fsum(normalised(shares)), 1.0, rel_tol=1e-12)


@every_rule
@given(own=FACTS, count=st.integers(0, 8))
def test_equal_models_get_equal_shares(rule, own, count):
    assert len(set(rule.shares(own, [own] * count))) == 1


@every_rule
@given(
    own=FACTS, numbered=SEVERAL.map(enumerate).map(list).flatmap(lambda n: st.tuples(st.just(n), st.permutations(n)))
)
def test_the_order_of_received_models_does_not_matter(rule, own, numbered):
    given_order, other_order = numbered
    own_share, *shares = rule.shares(own, [facts for _, facts in given_order])
    other_own_share, *other_shares = rule.shares(own, [facts for _, facts in other_order])
    assert other_own_share == own_share
    assert other_shares == [shares[place] for place, _ in other_order]


@every_rule
@given(count=st.integers(0, 5))
def test_models_that_know_nothing_get_equal_shares(rule, count):
    nothing = ModelFacts(0.0, 0)
    assert rule.shares(nothing, [nothing] * count) == [1.0] * (1 + count)


@given(own=FACTS, received=FACTS)
def test_a_claim_of_samples_counts_at_most_as_the_own_ones(own, received):
    own_share, share = RULES["samples"].shares(own, [received])
    assert share <= own_share


def test_a_model_whose_samples_are_not_told_counts_as_the_own_one():
    assert RULES["samples"].shares(ModelFacts(0.5, 30), [ModelFacts(0.5, None), ModelFacts(0.5, 10)]) == [30, 30, 10]


def test_each_rule_is_a_choice_of_the_setting():
    assert list(RULES) == ["accuracy", "samples", "uniform"]
    assert all(rule.name == name for name, rule in RULES.items())
    assert CartSettings().weighting == DEFAULT_RULE == "accuracy"


def test_shares_need_no_numpy():
    script = "import sys, child_cart.model.aggregation.registry; print('numpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
