"""Attacks on a real cart: names that are markup, forms of other sites, forged cookies,
uploads that are too large, ways out of the folder."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.processes.programs import ask
from support.processes.shop_fleet import PASSWORD, ShopFleet, log_in

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

EVIL = "<img src=x onerror=alert(1)>"
CODE = "EVIL-1"


@pytest.fixture
def evil_item(fleet: ShopFleet) -> Any:
    """An item whose name is markup; retired in the end, since a code is never removed."""
    items = fleet.cart.get("/api/catalogue")["items"]
    if all(item["code"] != CODE for item in items):
        body = {"code": CODE, "name": EVIL, "category": 6, "price_cents": 100}
        fleet.cart.post("/api/catalogue", body)
    fleet.cart.put(f"/api/catalogue/{CODE}", {"retired": False})
    yield
    fleet.cart.put(f"/api/catalogue/{CODE}", {"retired": True})


@pytest.mark.usefixtures("evil_item")
def test_a_name_that_is_markup_is_shown_as_it_is_everywhere(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    page.goto(fleet.url)
    page.get_by_role("button", name=f"Put {EVIL} in the bill").click()
    expect(page.locator("#lines .name")).to_have_text(EVIL)
    page.get_by_role("button", name="Check out").click()
    expect(page.locator("#receipt-lines .name")).to_contain_text(EVIL)
    log_in(page, fleet, "/admin/catalogue")
    expect(page.locator("#items tr").filter(has_text=CODE)).to_contain_text(EVIL)
    page.goto(f"{fleet.url}/admin/labels?code={CODE}")
    expect(page.locator(".label .name")).to_have_text(EVIL)
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.usefixtures("evil_item")
def test_a_label_of_such_an_item_is_a_picture_without_a_script(page: Page, fleet: ShopFleet) -> None:
    log_in(page, fleet)
    page.goto(f"{fleet.url}/api/catalogue/{CODE}/label.svg")
    assert page.evaluate("document.documentElement.tagName") == "svg"
    assert page.evaluate("document.querySelectorAll('img, script, foreignObject').length") == 0


def test_what_is_searched_for_is_no_markup_either(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    page.goto(fleet.url)
    page.get_by_role("searchbox").fill(EVIL)
    expect(page.locator("#found")).to_contain_text(EVIL)


@pytest.mark.parametrize("token", [None, "", "forged"])
def test_a_form_without_its_csrf_token_does_nothing(page: Page, fleet: ShopFleet, token: str | None) -> None:
    log_in(page, fleet)
    headers = {"Content-Type": "application/json"} | ({} if token is None else {"X-CSRFToken": token})
    for path, body in (("/api/reset", {"confirm": "reset"}), ("/api/train", {})):
        answer = page.request.post(fleet.url + path, headers=headers, data=json.dumps(body))
        assert answer.status == 400
    answer = page.request.put(f"{fleet.url}/api/settings/sharing", headers=headers, data='{"value": "off"}')
    assert answer.status == 400
    form = {"csrf_token": token or "", "password": PASSWORD}
    assert page.request.post(f"{fleet.url}/login", form=form).status == 400
    assert fleet.cart.status()["sharing"] is True


def test_a_page_of_another_site_cannot_act_through_a_browser_that_has_logged_in(page: Page, fleet: ShopFleet) -> None:
    log_in(page, fleet)
    page.route("http://evil.example/", lambda route: route.fulfill(body="<h1>evil</h1>", content_type="text/html"))
    page.goto("http://evil.example/")
    said = page.evaluate(
        """async url => {
            const tries = [
                fetch(`${url}/api/train`, { method: "POST", credentials: "include", mode: "no-cors", body: "{}" }),
                fetch(`${url}/api/reset`, { method: "POST", credentials: "include", mode: "no-cors",
                    headers: { "Content-Type": "text/plain" }, body: '{"confirm": "reset"}' }),
                fetch(`${url}/api/status`, { credentials: "include" }),
                fetch(`${url}/api/log`, { credentials: "include" }),
            ];
            return (await Promise.allSettled(tries)).map((one) => one.value?.type ?? "refused");
        }""",
        fleet.url,
    )
    assert said[2:] == ["refused", "refused"], "another site reads what only the operator may"
    assert set(said[:2]) <= {"opaque", "refused"}
    assert fleet.cart.status()["stage"] == "SERVING"
    events = [event["text"] for event in fleet.cart.status()["events"]]
    assert not any("reset" in event or "asked" in event for event in events)


@pytest.mark.parametrize("change", ["flipped", "of another cart", "empty"])
def test_a_forged_cookie_is_nobodys(context: BrowserContext, fleet: ShopFleet, change: str) -> None:
    page = context.new_page()
    log_in(page, fleet)
    (cookie,) = context.cookies(fleet.url)
    page.goto("about:blank")  # the admin page would go to the login by itself
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    value = cookie["value"]
    forged = {
        "flipped": value[:-3] + ("abc" if value[-3:] != "abc" else "abd"),
        "of another cart": "eyJfdXNlcl9pZCI6ImFkbWluIn0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "empty": "",
    }[change]
    context.add_cookies([{**cookie, "value": forged}])
    page.goto(f"{fleet.url}/admin")
    assert page.title() == "Cart · Log in"
    assert page.request.get(f"{fleet.url}/api/log").status == 401


def test_a_picture_that_is_too_large_is_refused_with_a_sentence(page: Page, fleet: ShopFleet) -> None:
    answer = page.request.post(
        f"{fleet.url}/api/scan", headers={"Content-Type": "image/png"}, data=b"\x89PNG\r\n\x1a\n" + bytes(6_000_000)
    )
    assert answer.status == 413
    assert answer.json()["error"]
    assert ask("GET", f"{fleet.url}/api/status")["stage"] == "SERVING"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../admin.json",
        "/static/..%2f..%2fmain.py",
        "/static/%2e%2e/%2e%2e/config.py",
        "/static//etc/passwd",
        "/static/..%5c..%5cmain.py",
        "/api/exports/../../admin.json",
        "/api/exports/..%2f..%2fsession-key",
        "/api/exports/h5/../../../cart.db",
        "/api/catalogue/..%2f..%2fkey.pem/label.svg",
        "/api/catalogue/%00/label.png",
    ],
)
def test_no_way_leads_out_of_what_is_served(fleet: ShopFleet, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", fleet.cart.port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {fleet.cart.token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status in (308, 400, 404), (answer.status, body[:200])
    for secret in ("admin.json", "session-key", "api-token", "key.pem"):
        assert (fleet.cart.data / secret).read_bytes()[:40] not in body


@pytest.mark.parametrize("path", ["/", "/login", "/admin", "/static/base.css", "/api/items", "/no-such-page"])
def test_every_answer_has_its_security_headers(page: Page, fleet: ShopFleet, path: str) -> None:
    headers = page.request.get(fleet.url + path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=(self)" in headers["permissions-policy"]


def test_an_inline_script_would_not_run(chromium: Any, fleet: ShopFleet) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(fleet.url)
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' }))")
    assert page.evaluate("window.ran") is None
    context.close()
