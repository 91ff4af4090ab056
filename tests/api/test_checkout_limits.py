"""What a shopper without a login may not do at the check-out: flood it, and date sales as they like."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from flask.testing import FlaskClient
from support.carts.shown import RYE_BREAD, Shown, bill_of

from child_cart.config import CartSettings
from child_cart.db.store import StoreAway

AT_ONCE = CartSettings().checkouts_at_once
DAYS_BACK = CartSettings().sale_days_back


def check_out(client: FlaskClient, number: int, address: str = "10.0.0.1", **changes: object):
    body = {"sale_id": f"s{number}", "gender": 0, "lines": bill_of((RYE_BREAD.code, 1)), **changes}
    return client.post("/api/checkout", json=body, environ_overrides={"REMOTE_ADDR": address})


def day(days_ago: int) -> str:
    return (date.today() - timedelta(days=days_ago)).isoformat()


def test_a_flood_of_one_address_is_refused_and_another_still_buys(shown: Shown) -> None:
    stranger = shown.stranger()
    answers = [check_out(stranger, number) for number in range(AT_ONCE + 30)]
    assert {answer.status_code for answer in answers[:AT_ONCE]} == {201}
    refused = answers[-1]
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert refused.json["error"].startswith("Nothing was sold: this address has sent too many sales. Wait ")
    sold = shown.store.sale_count()
    assert AT_ONCE <= sold <= AT_ONCE + 2  # one is earned back in ten seconds
    assert check_out(stranger, 1000, "10.0.0.2").status_code == 201
    assert check_out(stranger, 0).status_code == 200, "what was sold is told again, whatever the limit"


def test_programs_and_the_operator_have_no_limit(shown: Shown) -> None:
    for number in range(AT_ONCE + 5):
        assert check_out(shown.client, number).status_code == 201
    browser = shown.browser()
    for number in range(AT_ONCE + 5):
        assert check_out(browser.client, 1000 + number, "127.0.0.1").status_code == 201
    stranger = shown.stranger()
    stranger.environ_base["HTTP_AUTHORIZATION"] = "Bearer wrong"
    answers = [check_out(stranger, 2000 + number).status_code for number in range(AT_ONCE + 5)]
    assert answers[-1] == 429


def test_requests_that_sell_nothing_take_no_sale_from_the_address(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = shown.stranger()
    for number in range(AT_ONCE + 5):
        assert check_out(stranger, number, lines=[]).status_code == 400

    def away(*_: object) -> bool:
        raise StoreAway("The store does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(shown.store, "record_sale", away)
        for number in range(AT_ONCE + 5):
            assert check_out(stranger, number).status_code == 503
    assert check_out(stranger, 1).status_code == 201


@pytest.mark.parametrize(("days_ago", "status"), [(-1, 201), (0, 201), (DAYS_BACK, 201), (DAYS_BACK + 1, 400)])
def test_a_stranger_dates_a_sale_only_a_few_days_back(shown: Shown, days_ago: int, status: int) -> None:
    answer = check_out(shown.stranger(), 1, sold_on=day(days_ago))
    assert answer.status_code == status
    assert shown.store.sale_count() == (status == 201)


def test_older_sales_are_for_the_operator_and_programs(shown: Shown) -> None:
    refused = check_out(shown.stranger(), 1, sold_on="2023-05-10")
    assert refused.json["error"] == (
        "The day of sale '2023-05-10' is more than 7 days ago. Only the operator can add such a sale, after logging "
        "in, and programs that show the cart's token."
    )
    assert check_out(shown.client, 1, sold_on="2023-05-10").status_code == 201
    assert check_out(shown.browser().client, 2, "127.0.0.1", sold_on="2000-01-01").status_code == 201
