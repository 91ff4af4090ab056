"""Who may request what: strangers, logged-in operators, and programs with the token."""

from __future__ import annotations

import json

import pytest
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient
from support.carts.shown import OTHER_PAGE, PASSWORD, RYE_BREAD, Browser, Shown, bill_of

OPEN_PAGES = ["/", "/login", "/api/status", "/api/items", "/api/trending"]
CLOSED_PAGES = ["/admin", "/admin/catalogue", "/admin/labels", "/admin/receipts", "/admin/password"]
CLOSED_READING = ["rounds", "versions", "settings", "figures", "log", "rounds.csv", "rounds.json", "catalogue"]
CLOSED_READING += ["catalogue.csv", "exports/h5", f"catalogue/{RYE_BREAD.code}/label.svg"]
CHANGES = [("POST", "train"), ("POST", "reset"), ("POST", "rows"), ("POST", "exports"), ("POST", "catalogue")]
CHANGES += [("PUT", f"catalogue/{RYE_BREAD.code}"), ("PUT", "settings/sharing")]
BODY = {
    "confirm": "reset",
    "value": "off",
    "kind": "h5",
    "batch_id": "b",
    "rows": [{"month": 1, "gender": 0, "item": 1}],
}
PRIVATE = {"transfers", "events", "sales", "trainer_process", "disk", "cautions", "fleet", "bytes_in"}


def unchanged(shown: Shown) -> bool:
    counts = (shown.training.calls, shown.reset.calls, shown.store.row_count(), len(shown.asked_exports))
    return counts == (0, 0, 0, 0) and shown.store.settings() == {}


def test_every_address_is_open_on_purpose_or_closed(shown: Shown) -> None:
    stranger = shown.stranger()
    open_views = {
        rule.rule
        for rule in shown.app.url_map.iter_rules()
        if getattr(shown.app.view_functions[rule.endpoint], "is_open", False)
    }
    assert open_views == {
        *("/", "/receipt", "/login", "/api/status", "/api/items", "/api/trending", "/api/bill", "/api/checkout"),
        *("/api/scan", "/api/scan/text", "/api/camera/scan", "/api/camera/frame"),
    }
    for page in OPEN_PAGES:
        assert stranger.get(page).status_code == 200, page


def test_a_stranger_is_sent_to_the_login_and_back(shown: Shown) -> None:
    for page in CLOSED_PAGES:
        answer = shown.stranger().get(page)
        assert answer.status_code == 302
        assert answer.location == f"/login?next={page}"
    browser = Browser(shown.stranger())
    assert browser.log_in(PASSWORD, next="/admin/labels?copies=2").location == "/admin/labels?copies=2"
    assert browser.client.get("/admin/labels?copies=2").status_code == 200


@pytest.mark.parametrize("address", CLOSED_READING)
def test_a_stranger_reads_nothing_private(shown: Shown, address: str) -> None:
    answer = shown.stranger().get(f"/api/{address}")
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["error"].startswith("Log in first")


@pytest.mark.parametrize(("method", "address"), CHANGES)
def test_a_stranger_changes_nothing(shown: Shown, method: str, address: str) -> None:
    assert shown.stranger().open(f"/api/{address}", method=method, json=BODY).status_code == 401
    assert unchanged(shown)


def test_a_stranger_is_told_a_summary_and_whoever_is_known_all(shown: Shown) -> None:
    summary = shown.stranger().get("/api/status").json
    assert summary is not None
    assert not PRIVATE & set(summary)
    assert set(summary["link"]) == {"state"}
    for known in (shown.client, shown.browser().client):
        assert set(known.get("/api/status").json or {}) >= PRIVATE | set(summary)


def test_a_shopper_needs_no_login(shown: Shown) -> None:
    sale = {"sale_id": "s1", "gender": 0, "lines": bill_of((RYE_BREAD.code, 1))}
    assert shown.stranger().post("/api/checkout", json=sale).status_code == 201
    assert shown.stranger().post("/api/scan/text", json={"text": RYE_BREAD.code}).status_code == 200


# Logging in and out.


def test_a_wrong_password_opens_nothing(shown: Shown) -> None:
    browser = Browser(shown.stranger())
    answer = browser.log_in("a wrong password")
    assert answer.status_code == 403
    assert "This is not the password." in answer.text
    assert "a wrong password" not in answer.text
    assert browser.client.get("/admin").status_code == 302


def test_tries_are_counted_and_the_right_password_is_not_looked_at_then(shown: Shown) -> None:
    browser = Browser(shown.stranger())
    answers = [browser.log_in(f"wrong number {number}").status_code for number in range(5)]
    assert answers == [403] * 5
    answer = browser.log_in(PASSWORD)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 30
    assert "Too many tries. Wait" in answer.text
    assert browser.client.get("/admin").status_code == 302


def test_a_client_that_claims_other_addresses_is_still_one_client(shown: Shown) -> None:
    browser = Browser(shown.stranger())
    browser.client.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    for number in range(5):
        browser.client.environ_base["HTTP_X_FORWARDED_FOR"] = f"10.0.0.{number}"
        assert browser.log_in(f"wrong number {number}").status_code == 403
    assert browser.log_in(PASSWORD).status_code == 429
    assert Browser(shown.stranger()).log_in(PASSWORD).status_code == 302


def test_a_stolen_cookie_is_worthless_with_the_address_of_its_owner_in_a_header(shown: Shown) -> None:
    owner = Browser(shown.stranger())
    cookie = owner.log_in(PASSWORD).headers["Set-Cookie"].partition(";")[0]
    assert owner.client.get("/admin").status_code == 200
    thief = shown.app.test_client(use_cookies=False)
    claims = {"Cookie": cookie, "X-Forwarded-For": "127.0.0.1"}
    assert thief.get("/admin", headers=claims).status_code == 200  # from the owner's own address
    assert thief.get("/admin", headers=claims, environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 302


def test_the_cookie_is_kept_from_scripts_and_other_sites(shown: Shown) -> None:
    cookie = Browser(shown.stranger()).log_in(PASSWORD).headers["Set-Cookie"]
    assert cookie.startswith(f"cart-{shown.id[:8]}=")  # carts on one host do not overwrite each other's
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    client = shown.app.test_client()
    over_tls = client.get("/login", base_url="https://localhost").headers["Set-Cookie"]
    assert "Secure" in over_tls.split("; ")


def test_logging_out_makes_copies_of_the_cookie_worthless(shown: Shown) -> None:
    browser = shown.browser()
    name = shown.app.config["SESSION_COOKIE_NAME"]
    copied = browser.client.get_cookie(name)
    assert copied is not None
    token = browser.token("/admin")
    assert browser.client.post("/logout", data={"csrf_token": token}).location == "/login"
    thief = shown.app.test_client()
    thief.set_cookie(name, copied.value)
    assert thief.get("/api/log").status_code == 401


def test_changing_the_password_ends_other_sessions_and_keeps_this_one(shown: Shown) -> None:
    browser, other = shown.browser(), shown.browser()
    form = {"csrf_token": browser.token("/admin/password"), "password": PASSWORD, "new": "a newer password"}
    answer = browser.client.post("/admin/password", data={**form, "again": "another password"})
    assert (answer.status_code, "are not the same" in answer.text) == (403, True)
    answer = browser.client.post("/admin/password", data={**form, "password": "wrong", "again": form["new"]})
    assert (answer.status_code, "This is not the password." in answer.text) == (403, True)
    answer = browser.client.post("/admin/password", data={**form, "password": "wrong", "new": "short", "again": "x"})
    assert answer.status_code == 403
    for sentence in ("This is not the password.", "10 to 200 characters", "are not the same"):
        assert sentence in answer.text
    assert answer.text.count('aria-invalid="true"') == 3
    answer = browser.client.post("/admin/password", data={**form, "new": "short", "again": "short"})
    assert (answer.status_code, "10 to 200 characters" in answer.text) == (403, True)
    assert other.client.get("/admin").status_code == 200
    assert browser.client.post("/admin/password", data={**form, "again": form["new"]}).location == "/admin"
    assert "The password is changed" in browser.client.get("/admin").text
    assert other.client.get("/admin").status_code == 302
    assert shown.account.is_password("a newer password")


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/admin\r\nX: y",
        "/",
        "/admin:x",
    ],
)
def test_a_login_leads_to_no_other_site(shown: Shown, wanted: str) -> None:
    assert Browser(shown.stranger()).log_in(PASSWORD, next=wanted).location == "/admin"


# Forged cookies, missing tokens.


@pytest.mark.parametrize("forge", ["other key", "unsigned", "cut", "of another page"])
def test_a_forged_cookie_opens_nothing(shown: Shown, forge: str) -> None:
    name, browser = shown.app.config["SESSION_COOKIE_NAME"], shown.browser()
    kept = browser.client.get_cookie(name)
    assert kept is not None
    session = {"_user_id": shown.account.user_id, "_fresh": True}
    serializer = SecureCookieSessionInterface().get_signing_serializer(shown.app)
    assert serializer is not None
    serializer.secret_keys = ["another key"]
    value = {
        "other key": serializer.dumps(session),
        "unsigned": json.dumps(session),
        "cut": kept.value[:-1],
        "of another page": shown.app.json.dumps(session),
    }[forge]
    thief = shown.app.test_client()
    thief.set_cookie(name, value)
    assert thief.get("/admin").status_code == 302
    assert thief.get("/api/settings").status_code == 401


@pytest.mark.parametrize(("method", "address"), CHANGES)
def test_a_cookie_alone_changes_nothing(shown: Shown, method: str, address: str) -> None:
    client = shown.browser().client
    for headers in ({}, {"X-CSRFToken": "x"}, {"X-CSRFToken": Browser(shown.stranger()).token("/login")}):
        answer = client.open(f"/api/{address}", method=method, json=BODY, headers=headers)
        assert answer.status_code == 400
        assert answer.json is not None
        assert "CSRF" in answer.json["error"]
    assert unchanged(shown)


@pytest.mark.parametrize("address", ["/login", "/logout", "/admin/password"])
def test_a_form_without_its_token_is_refused(shown: Shown, address: str) -> None:
    client = shown.browser().client
    form = {"password": PASSWORD, "new": "an evil password", "again": "an evil password"}
    assert client.post(address, data=form).status_code == 400
    assert client.get("/admin").status_code == 200
    assert shown.account.is_password(PASSWORD)


def test_with_cookie_and_token_a_page_may_act(shown: Shown) -> None:
    browser = shown.browser()
    assert browser.send("POST", "/api/train", {}).status_code == 202
    assert browser.send("PUT", "/api/settings/sharing", {"value": "off"}).status_code == 200
    assert browser.send("POST", "/api/reset", {"confirm": "reset"}).status_code == 202
    assert (shown.training.calls, shown.reset.calls, shown.book.current.sharing) == (1, 1, "off")


# Programs.


@pytest.mark.parametrize("shown_as", ["", "Bearer", "Bearer x", "Basic x", "bearer ", "Bearer \u00e4"])
def test_a_wrong_token_is_none(shown: Shown, shown_as: str) -> None:
    headers = {"Authorization": shown_as}
    assert shown.stranger().get("/api/settings", headers=headers).status_code == 401
    assert shown.stranger().post("/api/train", json={}, headers=headers).status_code == 401
    assert unchanged(shown)


def test_a_program_with_the_token_needs_no_csrf_token(shown: Shown) -> None:
    headers = {"Authorization": f"Bearer {shown.account.token}"}
    assert shown.stranger().post("/api/train", json={}, headers=headers).status_code == 202


# Pages of other origins.


def allowed(client: FlaskClient, address: str, origin: str) -> str | None:
    return client.get(address, headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin")


@pytest.mark.parametrize("address", ["/api/status", "/api/items", "/api/trending"])
def test_pages_of_configured_origins_may_read_what_is_open(shown: Shown, address: str) -> None:
    client = shown.browser().client
    answer = client.get(address, headers={"Origin": OTHER_PAGE})
    assert answer.headers["Access-Control-Allow-Origin"] == OTHER_PAGE
    assert "Access-Control-Allow-Credentials" not in answer.headers
    for origin in ("https://evil.example", f"{OTHER_PAGE}.evil.example", "https://shopxexample", "null"):
        assert allowed(client, address, origin) is None


@pytest.mark.parametrize("address", ["/api/rounds", "/api/settings", "/api/log", "/admin", "/api/status/x"])
def test_they_may_read_nothing_else(shown: Shown, address: str) -> None:
    assert allowed(shown.client, address, OTHER_PAGE) is None


def test_they_may_change_nothing(shown: Shown) -> None:
    answer = shown.stranger().options(
        "/api/checkout", headers={"Origin": OTHER_PAGE, "Access-Control-Request-Method": "POST"}
    )
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert shown.client.post("/api/train", json={}, headers={"Origin": OTHER_PAGE}).status_code == 403
    assert unchanged(shown)


# What else comes in.


def test_markup_in_names_stays_text(shown: Shown) -> None:
    name = "<img src=x onerror=alert(1)>"
    item = {"code": "0299", "name": name, "category": 1, "price_cents": 100}
    assert shown.client.post("/api/catalogue", json=item).status_code == 201
    for address in ("/admin/labels", "/admin/catalogue", "/", "/api/catalogue/0299/label.svg"):
        assert "<img src=x" not in shown.client.get(address).text, address
    assert "&lt;img src=x" in shown.client.get("/admin/labels").text


@pytest.mark.parametrize("address", ["/login", "/api/exports", "/api/checkout"])
def test_a_huge_body_is_refused(shown: Shown, address: str) -> None:
    body = b'{"password": "' + b"x" * (5 * 1024 * 1024) + b'"}'
    kind = "application/x-www-form-urlencoded" if address == "/login" else "application/json"
    answer = shown.browser().client.post(address, data=body, content_type=kind)
    assert answer.status_code in (400, 413)  # 400: its CSRF token is missing, whatever else is in it


def test_what_a_login_sends_back_is_escaped(shown: Shown) -> None:
    form = {"password": "<script>alert(1)</script>", "next": '"><script>alert(1)</script>'}
    browser = Browser(shown.stranger())
    answer = browser.client.post("/login", data={**form, "csrf_token": browser.token("/login")})
    assert answer.status_code == 403
    assert "<script>alert" not in answer.text
