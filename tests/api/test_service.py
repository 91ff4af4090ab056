"""Every address under ``/api``: what it answers, and what it refuses with which sentence."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from support.carts.node import SIGNATURE
from support.carts.shown import CROISSANT, RYE_BREAD, Shown, bill_of

from cart_common.wire.messages import Code
from child_cart.db.deadline import remaining_s
from child_cart.db.records import Item, Origin, Outcome, RoundRecord, Verdict
from child_cart.model.digits import Digits
from child_cart.model.trainer import Epoch
from child_cart.transfers.active import Direction, TransferProgress, TransferView
from child_cart.transfers.assembly import TransferError

TRENDING = {"trending": [{"month": 5, "gender": 1, "shares": [0.1, 0.5, 0.05, 0.2, 0.1, 0.05]}]}
ROUND = RoundRecord("r1", 1, 1000.0, local_version=1, local_value=0.5, rows=90)


def sale(sale_id: str = "s1", **changes: object) -> dict[str, object]:
    return {"sale_id": sale_id, "gender": 1, "lines": bill_of((RYE_BREAD.code, 2)), **changes}


# Status.


def test_a_cart_without_a_model_says_so(shown: Shown) -> None:
    status = shown.get("/api/status")
    assert status["cart_id"] == shown.id
    assert status["task"] == "shopping"
    assert status["stage"] == "PREPARING"
    assert status["role"] == "SHELL"
    assert status["model"] is status["round"] is status["epoch"] is status["trainer_process"] is None
    assert status["rows"] == {"waiting": 0, "dataset_size": 100, "total": 0, "set_aside": 0}
    assert status["link"] | {"since": 0} == {
        "state": "WAITING",
        "url": "ws://127.0.0.1:9",
        "reason": "not started yet",
        "since": 0,
        "away_since": None,
    }
    assert status["started_at"] <= status["now"]


def test_a_cart_at_work_shows_model_round_training_and_events(shown: Shown) -> None:
    shown.initialise()
    shown.train(0.625)
    shown.serve()
    shown.activity.report_epoch(Epoch(3, 20, 0.5))
    shown.activity.note("first")
    shown.activity.note("second")
    shown.run_round(replace(ROUND, verdicts=(Verdict("ab" * 16, "ACCEPTED", "Good.", 0.6, 7, 300, 1000),)))
    shown.trainer.process_id = 77
    status = shown.get("/api/status")
    assert status["model"] | {"created_at": 0, "file_name": ""} == {
        "number": 1,
        "task": "task",
        "origin": "LOCAL",
        "digest": "digest",
        "signature": SIGNATURE,
        "value": 0.625,
        "metric": {"name": "accuracy", "unit": "fraction", "direction": "higher"},
        "samples": 5,
        "trained_from": 0,
        "trained_to": 0,
        "round_number": 0,
        "copy_of": None,
        "created_at": 0,
        "file_name": "",
    }
    assert status["epoch"] == {"epoch": 3, "epochs": 20, "loss": 0.5}
    assert status["round"]["verdicts"][0]["value"] == 0.6
    assert status["rounds_ended"] == 0
    assert status["trainer_process"] == 77
    assert [event["text"] for event in status["events"]] == ["second", "first"]


def test_transfers_are_shown_with_their_end_and_its_reason(shown: Shown) -> None:
    view = TransferView("t1", "cd" * 16, Direction.IN, TransferProgress.RUNNING, total_bytes=100, moved_bytes=40)
    view.end(TransferError(Code.TIMED_OUT, "The next chunk did not come."))
    shown.parts.network.exchange._finished.append(view)
    (transfer,) = shown.get("/api/status")["transfers"]
    assert (transfer["direction"], transfer["state"], transfer["moved_bytes"]) == ("IN", "FAILED", 40)
    assert transfer["reason"] == "The next chunk did not come. (TIMED_OUT)"


# Rounds and versions.


def test_rounds_come_newest_first_and_no_more_than_asked_for(shown: Shown) -> None:
    for number in (1, 2, 3):
        shown.store.save_round(RoundRecord(f"r{number}", number, 0.0, outcome=Outcome.AGGREGATED))
    assert [entry["number"] for entry in shown.get("/api/rounds?limit=2")["rounds"]] == [3, 2]
    assert len(shown.get("/api/rounds")["rounds"]) == 3
    assert shown.get("/api/status")["rounds_ended"] == 3


def test_versions_come_newest_first_without_their_summaries(shown: Shown) -> None:
    shown.initialise()
    shown.train(0.5, TRENDING, Origin.STARTER)
    versions = shown.get("/api/versions")["versions"]
    assert [(entry["number"], entry["origin"]) for entry in versions] == [(1, "STARTER"), (0, "INITIAL")]
    assert "summary" not in versions[0]


@pytest.mark.parametrize("limit", ["0", "501", "-1", "many", "", "1.5", "9" * 5000])
def test_a_limit_that_is_none_is_refused(shown: Shown, limit: str) -> None:
    sentence = shown.sentence(f"/api/rounds?limit={limit}")
    assert sentence == f"limit is {limit[:40]!r}; it must be a whole number from 1 to 500."


# The catalogue and what is trending.


def test_items_come_with_the_words_for_categories_and_shoppers(shown: Shown) -> None:
    answer = shown.get("/api/items")
    assert len(answer["items"]) == 24
    assert asdict(RYE_BREAD) in answer["items"]
    assert answer["categories"]["3"] == "Fruit & vegetables"
    assert sorted(answer["shoppers"]) == ["0", "1", "2"]
    assert answer["max_amount"] == 999


def test_trending_is_of_the_current_model_the_likeliest_first(shown: Shown) -> None:
    shown.initialise()
    shown.train(0.5, TRENDING)
    answer = shown.get("/api/trending?month=5&gender=1")
    assert [(entry["name"], entry["share"]) for entry in answer["trending"]][:2] == [("Dairy", 0.5), ("Drinks", 0.2)]
    assert answer["sentence"] == ""


def test_trending_is_of_this_month_unless_another_is_asked_for(shown: Shown) -> None:
    answer = shown.get("/api/trending")
    assert (answer["month"], answer["gender"]) == (date.today().month, 0)


def test_without_a_trained_model_trending_says_so(shown: Shown) -> None:
    sentence = "Nothing is known yet: this cart's model has not been trained."
    assert shown.get("/api/trending")["sentence"] == sentence
    shown.initialise()
    assert shown.get("/api/trending") | {"month": 0} == {"month": 0, "gender": 0, "trending": [], "sentence": sentence}


def test_a_task_that_tells_nothing_of_sales_says_so(tmp_path: Path) -> None:
    shown = Shown(tmp_path, Digits())
    shown.initialise()
    shown.train(0.5)
    assert shown.get("/api/trending")["sentence"] == "What this cart learns (digits) does not tell what sells."
    shown.close()


@pytest.mark.parametrize("query", ["month=0", "month=13", "gender=3", "gender=x", "month=²"])
def test_a_month_or_gender_that_is_none_is_refused(shown: Shown, query: str) -> None:
    assert "it must be a whole number from" in shown.sentence(f"/api/trending?{query}")


# Bills and sales.


def test_a_bill_is_priced_and_nothing_is_sold(shown: Shown) -> None:
    lines = bill_of((RYE_BREAD.code, 1), (CROISSANT.code, 3), (RYE_BREAD.code, 1))
    bill = shown.post("/api/bill", {"lines": lines})
    assert [(line["name"], line["amount"], line["price_cents"]) for line in bill["lines"]] == [
        ("Rye bread", 2, 349),
        ("Croissant", 3, 129),
    ]
    assert bill["total_cents"] == 2 * 349 + 3 * 129
    assert shown.store.sale_count() == 0


def test_a_check_out_keeps_the_sale_and_one_row_for_each_line(shown: Shown) -> None:
    lines = bill_of((RYE_BREAD.code, 2), (CROISSANT.code, 1))
    answer = shown.post("/api/checkout", sale(lines=lines, sold_on="2024-05-31"), 201)
    assert answer["added"] is True
    assert answer["sale"]["total_cents"] == 827
    assert answer["sale"]["sold_on"] == "2024-05-31"
    assert [kept.sale_id for kept in shown.store.sales(5)] == ["s1"]
    assert [entry.row for entry in shown.store.waiting_rows(5)] == [{"month": 5, "gender": 1, "item": 1}] * 2
    assert shown.on_rows.calls == 1


def test_a_sale_without_a_day_is_of_today(shown: Shown) -> None:
    assert shown.post("/api/checkout", sale(), 201)["sale"]["sold_on"] == date.today().isoformat()


def test_a_repeated_check_out_sells_once_and_shows_what_was_sold(shown: Shown) -> None:
    first = shown.post("/api/checkout", sale(), 201)
    again = shown.post("/api/checkout", sale(lines=bill_of((CROISSANT.code, 9))), 200)
    assert again == {"sale": first["sale"], "added": False}
    assert shown.store.sale_count() == 1
    assert shown.store.row_count() == 1
    assert shown.on_rows.calls == 1


def test_a_task_that_learns_nothing_from_sales_sells_all_the_same(tmp_path: Path) -> None:
    shown = Shown(tmp_path, Digits())
    shown.post("/api/checkout", sale(), 201)
    assert (shown.store.sale_count(), shown.store.row_count(), shown.on_rows.calls) == (1, 0, 0)
    shown.close()


# Prices that the shopper has seen.


def seen(*lines: tuple[Item, int]) -> list[dict[str, object]]:
    return [{"code": item.code, "amount": amount, "price_cents": item.price_cents} for item, amount in lines]


def test_a_higher_price_than_the_one_seen_is_not_charged_unless_the_shopper_agrees(shown: Shown) -> None:
    asked = sale(lines=seen((RYE_BREAD, 2), (CROISSANT, 1)))
    shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"price_cents": 999})
    answer = shown.post("/api/checkout", asked, 409)
    assert answer["error"] == (
        "Rye bread costs 9.99 now, not 3.49. The total is 21.27 now. Nothing was sold: check out again to agree."
    )
    assert answer["bill"]["total_cents"] == 2 * 999 + 129
    assert [(line["code"], line["price_cents"]) for line in answer["bill"]["lines"]] == [
        (RYE_BREAD.code, 999),
        (CROISSANT.code, 129),
    ]
    (change,) = answer["bill"]["changes"]
    assert change == {
        "code": RYE_BREAD.code,
        "name": "Rye bread",
        "amount": 2,
        "seen_cents": 349,
        "price_cents": 999,
    }
    assert (shown.store.sale_count(), shown.store.row_count()) == (0, 0)
    agreed = sale(lines=seen((replace(RYE_BREAD, price_cents=999), 2), (CROISSANT, 1)))
    assert shown.post("/api/checkout", agreed, 201)["sale"]["total_cents"] == 2127


def test_a_lower_price_than_the_one_seen_passes(shown: Shown) -> None:
    shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"price_cents": 299})
    bill = shown.post("/api/bill", {"lines": seen((RYE_BREAD, 1))})
    assert [(change["seen_cents"], change["price_cents"]) for change in bill["changes"]] == [(349, 299)]
    assert shown.post("/api/checkout", sale(lines=seen((RYE_BREAD, 1))), 201)["sale"]["total_cents"] == 299


def test_a_rise_is_asked_about_even_where_the_total_falls(shown: Shown) -> None:
    shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"price_cents": 350})
    shown.put(f"/api/catalogue/{CROISSANT.code}", {"price_cents": 1})
    answer = shown.post("/api/checkout", sale(lines=seen((RYE_BREAD, 1), (CROISSANT, 1))), 409)
    assert "Rye bread costs 3.50 now, not 3.49." in answer["error"]
    assert "Croissant" not in answer["error"]


def test_a_retired_item_on_a_bill_is_named_and_the_rest_is_sold_without_it(shown: Shown) -> None:
    asked = seen((RYE_BREAD, 2), (CROISSANT, 1))
    shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"retired": True})
    for answer in (
        shown.post("/api/bill", {"lines": asked}),
        shown.post("/api/checkout", sale(lines=asked), 409)["bill"],
    ):
        assert [line["code"] for line in answer["lines"]] == [CROISSANT.code]
        assert answer["total_cents"] == 129
        (change,) = answer["changes"]
        assert (change["name"], change["price_cents"]) == ("Rye bread", None)
    error = shown.post("/api/checkout", sale(lines=asked), 409)["error"]
    assert error.startswith("Rye bread is no longer sold: take it off the bill.")
    assert shown.post("/api/checkout", sale(lines=asked[1:]), 201)["sale"]["total_cents"] == 129


def test_a_bill_of_nothing_but_retired_items_sells_nothing(shown: Shown) -> None:
    shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"retired": True})
    asked = [*seen((RYE_BREAD, 2)), {"code": "GONE-FROM-THE-SHARED-CATALOGUE", "amount": 1, "price_cents": 5}]
    answer = shown.post("/api/checkout", sale(lines=asked), 409)
    assert (answer["bill"]["lines"], answer["bill"]["total_cents"]) == ([], 0)
    assert len(answer["bill"]["changes"]) == 2
    assert shown.store.sale_count() == 0


def test_a_program_that_sends_no_seen_prices_pays_what_the_catalogue_says(shown: Shown) -> None:
    shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"price_cents": 999})
    assert shown.post("/api/checkout", sale(), 201)["sale"]["total_cents"] == 1998


def test_a_bill_that_was_sold_before_its_price_rose_is_shown_and_not_asked_about(shown: Shown) -> None:
    asked = sale(lines=seen((RYE_BREAD, 2)))
    first = shown.post("/api/checkout", asked, 201)
    shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"price_cents": 999})
    assert shown.post("/api/checkout", asked, 200) == {"sale": first["sale"], "added": False}


def test_items_are_sent_again_only_when_they_have_changed(shown: Shown) -> None:
    tag = shown.client.get("/api/items").headers["ETag"]
    again = shown.client.get("/api/items", headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"price_cents": 999})
    assert shown.client.get("/api/items", headers={"If-None-Match": tag}).status_code == 200


TOMORROW_AND_ONE = (date.today() + timedelta(days=2)).isoformat()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"sale_id": None},
            "sale_id is missing; it must be a text of 1 to 64 printable characters, new for each",
        ),
        ({"sale_id": ""}, "sale_id is ''; it"),
        ({"sale_id": "x" * 65}, "sale_id is 'xxx"),
        ({"sale_id": 7}, "sale_id is 7; it"),
        ({"sale_id": "\ud800"}, "sale_id is '\\ud800'; it"),
        ({"gender": None}, "gender is missing; it must be 0, 1 or 2 (not said)."),
        ({"gender": True}, "gender is True; it"),
        ({"gender": 1.0}, "gender is 1.0; it"),
        ({"gender": 3}, "gender is 3; it"),
        ({"gender": [1]}, "gender is a list of 1; it"),
        ({"lines": []}, "A bill has 1 to 200 lines."),
        ({"lines": None}, "A bill has 1 to 200 lines."),
        ({"lines": bill_of(("nothing", 1))}, "There is no item with the code 'nothing' in the catalogue."),
        ({"lines": bill_of((RYE_BREAD.code, 0))}, "The amount '0' is not a whole number from 1 to 999."),
        ({"sold_on": "yesterday"}, "The day of sale 'yesterday' is not a day like 2026-07-31, at most today."),
        ({"sold_on": "1999-12-31"}, "The day of sale '1999-12-31' is not"),
        ({"sold_on": TOMORROW_AND_ONE}, f"The day of sale '{TOMORROW_AND_ONE}' is not"),
        ({"sold_on": 20240531}, "The day of sale '20240531' is not"),
    ],
)
def test_a_check_out_that_is_none_keeps_nothing(shown: Shown, changes: dict[str, object], sentence: str) -> None:
    assert shown.sentence("/api/checkout", sale(**changes)).startswith(sentence)
    assert shown.store.sale_count() == shown.store.row_count() == 0


# Rows.


def test_rows_are_kept_once_for_each_batch(shown: Shown) -> None:
    batch = {
        "batch_id": "b1",
        "rows": [{"month": 1, "gender": "0", "item": 2.0}, {"month": 12, "gender": 1, "item": 6}],
    }
    assert shown.post("/api/rows", batch, 201) == {"rows": 2, "added": True}
    assert shown.post("/api/rows", batch, 200) == {"rows": 2, "added": False}
    assert [entry.row["month"] for entry in shown.store.waiting_rows(9)] == [1, 12]
    assert shown.get("/api/status")["rows"]["waiting"] == 2
    assert shown.on_rows.calls >= 1


GOOD_ROW = {"month": 1, "gender": 0, "item": 2}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"rows": [GOOD_ROW]}, "batch_id is missing; it"),
        ({"batch_id": "b"}, "rows is missing; it must be a list of 1 to 10000 rows."),
        ({"batch_id": "b", "rows": []}, "rows is a list of 0; it must be a list of 1 to 10000 rows."),
        ({"batch_id": "b", "rows": [GOOD_ROW] * 10_001}, "rows is a list of 10001; it"),
        ({"batch_id": "b", "rows": GOOD_ROW}, "rows is {'month': 1, "),
        ({"batch_id": "b", "rows": [GOOD_ROW, 5]}, "Row 2 is not an object with fields."),
        ({"batch_id": "b", "rows": [GOOD_ROW, {"month": 1, "gender": 0}]}, "Row 2: item is missing."),
        (
            {"batch_id": "b", "rows": [5, GOOD_ROW, {"month": 1, "gender": 0}]},
            "Row 1 is not an object with fields. Row 3: item is missing.",
        ),
        ({"batch_id": "b", "rows": [5] * 9}, "Row 5 is not an object with fields. 4 more rows are wrong."),
        ({"batch_id": "b", "rows": [{**GOOD_ROW, "month": 13}]}, "Row 1: month is '13'; it must be a whole number"),
        ({"batch_id": "b", "rows": [{**GOOD_ROW, "gender": True}]}, "Row 1: gender is 'True'; it must be"),
        ({"batch_id": "b", "rows": [{**GOOD_ROW, "item": 1.5}]}, "Row 1: item is '1.5'; it must be"),
    ],
)
def test_one_wrong_row_keeps_the_whole_batch_out(shown: Shown, body: dict[str, object], sentence: str) -> None:
    assert sentence in shown.sentence("/api/rows", body)
    assert shown.store.row_count() == 0


# Settings.


def setting(answer: dict[str, list[dict[str, object]]], name: str) -> dict[str, object]:
    return next(entry for entry in answer["settings"] if entry["name"] == name)


def test_settings_come_with_value_help_and_whether_they_were_changed(shown: Shown) -> None:
    answer = shown.get("/api/settings")
    assert setting(answer, "dataset_size") == {
        "name": "dataset_size",
        "value": 100,
        "start_value": 100,
        "flag": "--dataset-size",
        "variable": "CART_DATASET_SIZE",
        "changed": False,
        "live": True,
        "help": "waiting rows that start a round",
        "type": "int",
        "choices": [],
        "minimum": 1,
        "maximum": 1_000_000,
    }
    assert setting(answer, "port") | {"help": ""} == setting(answer, "port") | {
        "value": 5099,
        "live": False,
        "help": "",
    }


def test_a_live_setting_is_changed_at_once_and_taken_back(shown: Shown) -> None:
    changed = setting(shown.put("/api/settings/dataset_size", {"value": "250"}), "dataset_size")
    assert (changed["value"], changed["start_value"], changed["changed"]) == (250, 100, True)
    assert shown.get("/api/status")["rows"]["dataset_size"] == 250
    back = setting(shown.put("/api/settings/dataset_size", {"value": None}), "dataset_size")
    assert (back["value"], back["changed"]) == (100, False)


@pytest.mark.parametrize(
    ("name", "body", "sentence"),
    [
        ("dataset_size", {"value": "few"}, "dataset_size is 'few'; it must be a whole number from 1 to 1000000."),
        ("dataset_size", {"value": 0}, "dataset_size is 0; it must be"),
        ("dataset_size", {"value": True}, "dataset_size is True; it must be"),
        ("dataset_size", {"value": [1]}, "dataset_size is [1]; it must be"),
        ("accept_backward", {"value": "nan"}, "accept_backward is 'nan'; it must be"),
        ("aggregator", {"value": "luck"}, "--aggregator (CART_AGGREGATOR) is 'luck'; it must be one of subset, "),
        ("min_peers", {"value": 9}, "min_peers is 9, but cluster_size is 6: a round could never have enough peers."),
        ("port", {"value": 80}, "port can only be set when the cart starts."),
        ("colour", {"value": 1}, "There is no setting named 'colour'."),
        ("__class__", {"value": 1}, "There is no setting named '__class__'."),
        ("dataset_size", {}, "value is missing: the new value, or null to take an earlier change back."),
        ("dataset_size", [], "The body of the request must be a JSON object."),
    ],
)
def test_a_change_that_does_not_do_is_refused(shown: Shown, name: str, body: object, sentence: str) -> None:
    before = shown.get("/api/settings")
    assert shown.put(f"/api/settings/{name}", body, 400)["error"].startswith(sentence)
    assert shown.get("/api/settings") == before


# Training and resetting.


def test_train_asks_for_a_round(shown: Shown) -> None:
    assert shown.post("/api/train", {}, 202) == {"asked": True}
    assert shown.client.post("/api/train").status_code == 202
    assert shown.training.calls == 2


def test_reset_needs_its_word(shown: Shown) -> None:
    for body in ({}, {"confirm": "yes"}, {"confirm": True}):
        assert '{"confirm": "reset"}' in shown.sentence("/api/reset", body)
    assert shown.reset.calls == 0
    assert shown.post("/api/reset", {"confirm": "reset"}, 202) == {"asked": True}
    assert shown.reset.calls == 1


# What is no address, and a store that fails.


def test_what_is_not_there_is_said_in_json(shown: Shown) -> None:
    shown.sentence("/api/nothing", status=404)
    shown.sentence("/api/checkout", status=405)
    shown.sentence("/api/status", {}, status=405)


PAGE_ACCEPTS = {
    "Firefox": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Chrome": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7",
    "old Edge": "text/html, application/xhtml+xml, image/jxr, */*",
    "old WebKit": "application/xml,application/xhtml+xml,text/html;q=0.9,text/plain;q=0.8,image/png,*/*;q=0.5",
    "Lynx": "text/html, text/plain, text/sgml, text/css, */*;q=0.01",
}


@pytest.mark.parametrize("browser", PAGE_ACCEPTS)
def test_a_browser_is_told_within_the_cart_s_own_frame(shown: Shown, browser: str) -> None:
    as_browser = {"Accept": PAGE_ACCEPTS[browser]}
    for address, status, name in (("/nothing", 404, "Not Found"), ("/logout", 405, "Method Not Allowed")):
        page = shown.client.get(address, headers=as_browser)
        assert page.status_code == status
        assert f"<h1>{name}</h1>" in page.text
        assert 'aria-label="Pages"' in page.text
        assert page.headers.get("Allow") == shown.client.get(address).headers.get("Allow")  # RFC 9110, 15.5.6


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/plain, */*;q=0.1", "text/html;q=0"])
def test_a_program_is_told_in_a_few_words(shown: Shown, accept: str | None) -> None:
    for address in ("/nothing", "/logout"):
        assert "<nav" not in shown.client.get(address, headers={"Accept": accept} if accept else {}).text


def test_a_store_that_cannot_be_used_is_named(shown: Shown) -> None:
    shown.close()
    sentence = shown.sentence("/api/status", status=503)
    assert str(shown.folder / "cart.db") in sentence
    assert "restore it from a backup" in sentence


def test_a_request_waits_for_the_store_no_longer_than_the_setting_says(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []
    monkeypatch.setattr(shown.store, "waiting_count", lambda: left.append(remaining_s(1e6)) or 0)
    shown.get("/api/status")
    assert 0 < left[0] <= 60


def test_while_the_store_is_away_the_rest_of_the_status_goes_on(shown: Shown) -> None:
    assert shown.post("/api/checkout", sale(), 201)
    before = shown.get("/api/status")
    assert before["store"] == {
        "name": "embedded",
        "answers": True,
        "seen_at": before["store"]["seen_at"],
        "trouble": "",
    }
    shown.close()
    after = shown.get("/api/status")
    assert "cart.db" in after["store"]["trouble"]
    assert after["store"]["seen_at"] == before["store"]["seen_at"]
    assert shown.stranger().get("/api/status").json["store"] == {
        "answers": False,
        "seen_at": before["store"]["seen_at"],
    }
    assert after["cautions"][0]["weight"] == "TROUBLE"
    assert after["store"]["trouble"] in after["cautions"][0]["sentence"]
    assert after["now"] > before["now"]
    assert after.keys() == before.keys()
    assert after["link"]["since"] == pytest.approx(before["link"]["since"], abs=1.0)  # of the present wall clock
    after["link"]["since"] = before["link"]["since"]
    for kept in ("rows", "sales", "link", "disk"):
        assert after[kept] == before[kept]
