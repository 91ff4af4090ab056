"""What comes from people and pages that mean harm: a clear refusal, and nothing kept."""

from __future__ import annotations

from typing import Any

import pytest
from support.carts.shown import CROISSANT, RYE_BREAD, Shown, bill_of

from child_cart.db.records import Item

SALE = {"sale_id": "s1", "gender": 0, "lines": bill_of((RYE_BREAD.code, 1))}
CHANGES = [("POST", "/api/checkout"), ("POST", "/api/rows"), ("POST", "/api/train"), ("POST", "/api/reset")]
CHANGES += [("POST", "/api/bill"), ("PUT", "/api/settings/dataset_size")]


def nothing_kept(shown: Shown) -> bool:
    counts = (shown.store.sale_count(), shown.store.row_count(), shown.training.calls, shown.reset.calls)
    return counts == (0, 0, 0, 0) and shown.store.settings() == {}


# Pages of other sites.


@pytest.mark.parametrize(("method", "address"), CHANGES)
@pytest.mark.parametrize("origin", ["http://evil.example", "https://localhost.evil.example", "null", "http://", "//x"])
def test_a_page_of_another_origin_changes_nothing(shown: Shown, method: str, address: str, origin: str) -> None:
    body = {**SALE, "confirm": "reset", "value": 5, "batch_id": "b", "rows": [{"month": 1, "gender": 0, "item": 1}]}
    response = shown.client.open(address, method=method, json=body, headers={"Origin": origin})
    assert response.status_code == 403
    assert response.json is not None
    assert response.json["error"] == f"Requests from pages of {origin} are not taken."
    assert nothing_kept(shown)


def test_the_carts_own_page_may(shown: Shown) -> None:
    response = shown.client.post("/api/checkout", json=SALE, headers={"Origin": "http://localhost"})
    assert response.status_code == 201


def test_another_port_of_this_machine_is_another_origin(shown: Shown) -> None:
    response = shown.client.post("/api/train", headers={"Origin": "http://localhost:8080"})
    assert response.status_code == 403


# Bodies that are no JSON object.


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_another_site_cannot_speak_to_the_api(shown: Shown, kind: str) -> None:
    response = shown.client.post("/api/reset", data='{"confirm": "reset"}', content_type=kind)
    assert response.status_code == 415
    assert response.json == {"error": "Send the request's body as application/json."}
    assert nothing_kept(shown)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{'a': 1}", b"1" * 5000, b"[" * 100_000, b'{"a":' * 100_000],
    ids=lambda body: repr(body[:8]),
)
@pytest.mark.parametrize("address", ["/api/bill", "/api/checkout", "/api/rows", "/api/reset"])
def test_a_body_that_is_no_object_is_refused(shown: Shown, address: str, body: bytes) -> None:
    response = shown.client.post(address, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.json == {"error": "The body of the request must be a JSON object."}
    assert nothing_kept(shown)


def test_a_giant_body_is_refused(shown: Shown) -> None:
    body = b'{"sale_id": "' + b"x" * (4 * 1024 * 1024) + b'"}'
    response = shown.client.post("/api/checkout", data=body, content_type="application/json")
    assert response.status_code == 413
    assert response.json is not None
    assert "error" in response.json


# Absurd numbers and texts.


@pytest.mark.parametrize(
    "amount", [0, -1, 1000, 10**30, 1.5, 2.0, True, "3", None, [1], {}, float("inf"), float("nan"), "\u0661", "1e3"]
)
def test_an_amount_that_nobody_buys_is_refused(shown: Shown, amount: object) -> None:
    lines = [{"code": RYE_BREAD.code, "amount": amount}]
    for address, body in (("/api/bill", {"lines": lines}), ("/api/checkout", {**SALE, "lines": lines})):
        assert "is not a whole number from 1 to 999." in shown.sentence(address, body)
    assert nothing_kept(shown)


def test_amounts_are_not_added_up_beyond_the_limit(shown: Shown) -> None:
    sentence = shown.sentence("/api/bill", {"lines": bill_of((RYE_BREAD.code, 999), (RYE_BREAD.code, 1))})
    assert sentence == "1000 pieces of Rye bread: at most 999 can be bought."


def test_a_price_that_is_sent_never_becomes_the_price(shown: Shown) -> None:
    line = {"code": RYE_BREAD.code, "amount": 1, "name": "Gold", "category": 6}
    for seen in (0, 1, 348):
        answer = shown.post("/api/checkout", {**SALE, "lines": [{**line, "price_cents": seen}], "total_cents": 1}, 409)
        assert answer["bill"]["total_cents"] == 349
    assert nothing_kept(shown)
    answer = shown.post("/api/checkout", {**SALE, "lines": [{**line, "price_cents": 10**9}], "total_cents": 1}, 201)
    assert answer["sale"]["total_cents"] == 349
    assert answer["sale"]["lines"][0]["name"] == "Rye bread"


@pytest.mark.parametrize("seen", [-1, 2**53, 10**400, 3.49, True, "349", [], {}, float("nan")])
def test_a_seen_price_that_is_none_is_refused(shown: Shown, seen: object) -> None:
    lines = [{"code": RYE_BREAD.code, "amount": 1, "price_cents": seen}]
    for address, body in (("/api/bill", {"lines": lines}), ("/api/checkout", {**SALE, "lines": lines})):
        sentence = shown.sentence(address, body)
        assert "it is the price that the shopper has seen, in whole cents." in sentence
        assert len(sentence) < 200
    assert nothing_kept(shown)


def test_a_long_code_is_not_repeated_among_the_changes(shown: Shown) -> None:
    sentence = shown.sentence("/api/bill", {"lines": [{"code": "x" * 100_000, "amount": 1, "price_cents": 5}]})
    assert len(sentence) < 120


@pytest.mark.parametrize("code", [None, 5, ["x"], {"a": 1}, True])
def test_a_code_that_is_no_text_is_refused(shown: Shown, code: object) -> None:
    sentence = shown.sentence("/api/bill", {"lines": [{"code": code, "amount": 1}]})
    assert sentence == "Each line of a bill has the code of an item."


def test_a_long_code_is_not_echoed_whole(shown: Shown) -> None:
    assert len(shown.sentence("/api/bill", {"lines": bill_of(("x" * 100_000, 1))})) < 120


def test_more_lines_than_a_bill_has_are_refused(shown: Shown) -> None:
    assert shown.sentence("/api/bill", {"lines": bill_of((CROISSANT.code, 1)) * 201}) == "A bill has 1 to 200 lines."


@pytest.mark.parametrize("identifier", ["\ud800", "a\nb", "\0", "\u200b", 5, ["s"], {"$ne": 1}])
@pytest.mark.parametrize("address", ["/api/checkout", "/api/rows"])
def test_an_identifier_that_no_store_takes_is_refused(shown: Shown, address: str, identifier: object) -> None:
    body: dict[str, Any] = {**SALE, "rows": [{"month": 1, "gender": 0, "item": 1}]}
    body |= {"sale_id": identifier, "batch_id": identifier}
    assert "it must be a text of 1 to 64 printable characters" in shown.sentence(address, body)
    assert nothing_kept(shown)


# Markup in data.


def test_markup_in_item_names_stays_text(shown: Shown) -> None:
    name = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    shown.store.put_items([Item("x" * 13, name, 1, 100)])
    response = shown.client.get("/api/items")
    assert response.mimetype == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.json is not None
    assert name in [item["name"] for item in response.json["items"]]
    assert name not in shown.client.get("/").text
    bill = shown.post("/api/bill", {"lines": bill_of(("x" * 13, 1))})
    assert bill["lines"][0]["name"] == name


def test_markup_in_an_address_stays_text(shown: Shown) -> None:
    response = shown.client.get("/%3Cscript%3Ealert(1)%3C/script%3E")
    assert response.status_code == 404
    assert "<script>" not in response.text
    assert "'<script>'" in shown.put("/api/settings/%3Cscript%3E", {"value": 1}, 400)["error"]


def test_markup_in_an_origin_stays_text(shown: Shown) -> None:
    response = shown.client.post("/", headers={"Origin": "http://<script>x"})
    assert response.status_code == 403
    assert "<script>" not in response.text


# Ways out of the static folder.


@pytest.mark.parametrize(
    "path",
    [
        "../cart.py",
        "..%2fcart.py",
        "%2e%2e/cart.py",
        "....//cart.py",
        "..\\cart.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "shop.js/../../cart.py",
        "shop.js%00.py",
        "",
        ".",
    ],
)
def test_static_files_are_all_that_is_served(shown: Shown, path: str) -> None:
    response = shown.client.get(f"/static/{path}")
    assert response.status_code in (308, 404), response.text[:100]
    assert "import" not in response.text
    assert "root:" not in response.text


def test_methods_that_no_page_has_are_refused(shown: Shown) -> None:
    assert shown.client.delete("/api/status").status_code == 405
    assert shown.client.post("/", json={}).status_code == 405
    assert shown.client.open("/api/items", method="TRACE").status_code == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:5001", 200),
        ("[::1]:5001", 200),
        ("localhost", 200),
        ("evil.example", 403),
        ("evil.example:5001", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_a_name_that_is_not_the_carts_is_refused(shown, host, status):
    assert shown.client.get("/api/status", headers={"Host": host}).status_code == status


def test_a_malformed_origin_is_refused(shown):
    headers = {"Host": "127.0.0.1:5001", "Origin": "http://["}
    assert shown.client.post("/api/train", headers=headers).status_code == 403
