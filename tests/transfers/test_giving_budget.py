"""What a cart gives away is bounded: of one version, to one account, and to all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.transfers.assembly import TransferError
from child_cart.transfers.giving_budget import (
    ACCOUNTS_KEPT,
    BUDGET_S,
    MODELS_OF_ALL,
    MODELS_OF_ONE,
    GivingBudget,
    Handout,
)
from child_cart.transfers.limits import ExchangeLimits

FREE = ExchangeLimits(1000, 1000, 1.0, 45.0, 90.0, 20_000.0, give_again_s=15.0)
BOUND = replace(FREE, give_bytes_per_peer=1, give_bytes=1)  # so the numbers of models count
SIZE = 1000


def give(budget: GivingBudget, account: str, digest: str, now: float, limits: ExchangeLimits = FREE) -> Handout:
    """Give a whole model."""
    handout = budget.begin(account, digest, SIZE, limits, now)
    budget.count(handout, SIZE, now)
    budget.end(handout)
    return handout


def refusal(budget: GivingBudget, account: str, digest: str, now: float, limits: ExchangeLimits = FREE) -> str:
    with pytest.raises(TransferError) as caught:
        budget.begin(account, digest, SIZE, limits, now)
    return caught.value.sentence


def test_the_same_version_comes_again_after_growing_delays() -> None:
    budget, now = GivingBudget(0.0), 0.0
    for delay_s in (15, 30, 60, 120, 120):
        give(budget, "peer", "v1", now)
        assert f"ask again in {delay_s} s." in refusal(budget, "peer", "v1", now)
        assert "ask again in 1 s." in refusal(budget, "peer", "v1", now + delay_s - 0.5)  # asking lengthens nothing
        now += delay_s
    give(budget, "peer", "v2", now)
    give(budget, "another", "v2", now)


def test_what_did_not_arrive_may_be_asked_for_at_once_but_not_for_ever() -> None:
    budget = GivingBudget(0.0)
    for _ in range(2):
        handout = budget.begin("peer", "v1", SIZE, FREE, 0.0)
        assert "ask again in 15 s" in refusal(budget, "peer", "v1", 0.0)  # nor twice at the same time
        budget.count(handout, SIZE - 1, 0.0)
        budget.end(handout)
    assert "1 times lately; ask again in 15 s." in refusal(budget, "peer", "v1", 0.0)


def test_one_account_has_a_budget_that_comes_back() -> None:
    budget = GivingBudget(0.0)
    for number in range(MODELS_OF_ONE):
        give(budget, "peer", f"v{number}", 0.0, BOUND)
    assert "the asking one much lately; ask again in 75 s." in refusal(budget, "peer", "next", 0.0, BOUND)
    give(budget, "another", "next", 0.0, BOUND)
    give(budget, "peer", "next", BUDGET_S / MODELS_OF_ONE, BOUND)
    give(budget, "peer", "without limit", BUDGET_S / MODELS_OF_ONE)


def test_the_last_of_the_budget_for_all_is_for_accounts_that_got_nothing_lately() -> None:
    budget = GivingBudget(0.0)
    for number in range(MODELS_OF_ALL * 3 // 4):
        give(budget, f"peer {number}", "v1", 0.0, BOUND)
    assert "many models lately" in refusal(budget, "peer 1", "v2", 0.0, BOUND)
    for number in range(MODELS_OF_ALL // 4):
        give(budget, f"new {number}", "v1", 0.0, BOUND)
    assert "many models lately" in refusal(budget, "the last", "v1", 0.0, BOUND)
    give(budget, "the last", "v1", BUDGET_S / MODELS_OF_ALL, BOUND)


def test_what_has_not_gone_out_is_given_back() -> None:
    budget = GivingBudget(0.0)
    for _ in range(10 * MODELS_OF_ALL):
        budget.end(budget.begin("peer", "v1", SIZE, BOUND, 0.0))
    assert not budget.was_served_lately("peer", 0.0)
    assert not budget.has_taken_a_model("peer")
    give(budget, "peer", "v1", 0.0, BOUND)
    assert budget.was_served_lately("peer", 0.0)
    assert not budget.was_served_lately("peer", BUDGET_S)
    assert budget.has_taken_a_model("peer")


def test_bytes_that_are_sent_again_cost_once_more() -> None:
    budget = GivingBudget(0.0)
    handout = budget.begin("peer", "v1", SIZE, BOUND, 0.0)
    for _ in range(MODELS_OF_ONE):
        budget.count(handout, SIZE, 0.0)
    with pytest.raises(TransferError, match="until its budget was spent"):
        budget.count(handout, SIZE, 0.0)


def test_accounts_are_forgotten_when_there_are_too_many() -> None:
    budget = GivingBudget(0.0)
    early = budget.begin("early", "v1", SIZE, FREE, 0.0)
    for number in range(ACCOUNTS_KEPT + 10):
        give(budget, f"peer {number}", "v1", 0.0)
    assert len(budget) == ACCOUNTS_KEPT
    budget.count(early, SIZE, 0.0)
    budget.end(early)


steps = st.tuples(
    st.sampled_from("abc"), st.sampled_from(["v1", "v2"]), st.integers(0, SIZE), st.floats(0, 30), st.booleans()
)


@given(st.lists(steps, max_size=200))
def test_nobody_gets_more_than_the_budgets_whatever_it_does(asked: list[tuple[str, str, int, float, bool]]) -> None:
    budget, now, sent = GivingBudget(0.0), 0.0, dict.fromkeys("abc", 0)
    held: list[Handout] = []
    for account, digest, count, pause_s, ends in asked:
        now += pause_s
        try:
            handout = budget.begin(account, digest, SIZE, BOUND, now)
        except TransferError:
            continue
        budget.count(handout, count, now)
        sent[account] += count
        held.append(handout)
        if ends:
            budget.end(held.pop())
        assert sent[account] <= SIZE * MODELS_OF_ONE * (1 + now / BUDGET_S) + 1e-6
        assert sum(sent.values()) <= SIZE * MODELS_OF_ALL * (1 + now / BUDGET_S) + 1e-6
