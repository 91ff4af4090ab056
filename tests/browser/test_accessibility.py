"""Every page, as people find it who see little, hear it read, or use a phone: axe finds nothing serious."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from support.browser.chromium import PATIENCE_MS, findings
from support.processes.shop_fleet import ShopFleet, log_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(
    scope="module", params=[(390, "light"), (820, "light"), (1440, "dark")], ids=["phone", "tablet", "desktop-dark"]
)
def looked_at(request: pytest.FixtureRequest, chromium: Browser, fleet: ShopFleet) -> Iterator[Page]:
    """A page, logged in."""
    width, colours = request.param
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=colours, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    log_in(page, fleet)
    yield page
    context.close()


def filled(page: Page) -> None:
    page.get_by_role("button", name="Put Gouda in the bill").click()
    page.get_by_label("Amount of Gouda").fill("-1")
    page.get_by_label("Amount of Gouda").press("Enter")
    page.locator("#bill-error").wait_for()


def out_of_sight(page: Page) -> None:
    page.get_by_role("button", name="Put Gouda in the bill").click()
    page.evaluate("window.scrollTo(0, 0)")
    if page.viewport_size == {"width": 390, "height": 900}:
        page.get_by_role("link", name=re.compile(r"Bill: \d+ pieces? ?\d+\.\d\d")).wait_for()


def sold(page: Page) -> None:
    page.get_by_role("button", name="Put Gouda in the bill").click()
    page.get_by_role("button", name="Check out").click()
    page.locator("#receipt").wait_for()


def changed(page: Page) -> None:
    page.evaluate(
        """localStorage.setItem("cart.bill", JSON.stringify({ saleId: "changed", gender: 0, sent: false, lines: [
            { code: "0200000000103", amount: 1, name: "Rye bread", category: 1, price_cents: 1 },
            { code: "0200000000509", amount: 1, name: "Gouda", category: 2, price_cents: 900 },
            { code: "GONE", amount: 1, name: "Gone", category: 1, price_cents: 1 },
        ] }))"""
    )
    page.reload()
    for state in ("dearer", "cheaper", "gone"):
        page.locator(f"#lines .{state}").wait_for()


def receipt_opened(page: Page) -> None:
    sold(page)
    page.get_by_role("link", name="Open as a page of its own").click()
    page.get_by_role("heading", name="Receipt").wait_for()


def admin_opened(page: Page) -> None:
    page.locator("#settings .setting").first.wait_for()
    page.get_by_text("Set at start").click()
    page.get_by_text("As a table").click()
    page.locator("#setting-dataset_size").fill("0")
    page.locator("#setting-dataset_size").press("Enter")
    page.locator("#error-dataset_size").wait_for()


def reset_asked(page: Page) -> None:
    page.locator("#settings .setting").first.wait_for()
    page.get_by_role("button", name="Reset model").click()


def item_refused(page: Page) -> None:
    page.get_by_role("button", name="Add an item").click()
    page.get_by_role("button", name="Save").click()
    page.locator("#item-error").wait_for()


VIEWS: dict[str, tuple[str, Callable[[Page], Any]]] = {
    "shop": ("/", filled),
    "nothing found": ("/", lambda page: page.get_by_role("searchbox").fill("no such thing")),
    "bill out of sight": ("/", out_of_sight),
    "bill that has changed": ("/", changed),
    "receipt": ("/", sold),
    "receipt alone": ("/", receipt_opened),
    "receipts": ("/admin/receipts", lambda page: page.get_by_role("heading", name="Receipts").wait_for()),
    "admin": ("/admin", admin_opened),
    "reset": ("/admin", reset_asked),
    "password": ("/admin/password", lambda page: page.get_by_role("heading", name="Change the password").wait_for()),
    "catalogue": ("/admin/catalogue", lambda page: page.locator("#items tr").first.wait_for()),
    "item": ("/admin/catalogue", item_refused),
    "labels": ("/admin/labels", lambda page: page.locator(".label").first.wait_for()),
}


@pytest.mark.parametrize("name", VIEWS)
def test_axe_finds_nothing_serious(looked_at: Page, fleet: ShopFleet, name: str) -> None:
    address, prepare = VIEWS[name]
    looked_at.evaluate("localStorage.clear()")  # no bill of the view before
    looked_at.goto(fleet.url + address)
    prepare(looked_at)
    assert findings(looked_at) == []


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_is_wider_than_the_screen(looked_at: Page, fleet: ShopFleet, name: str) -> None:
    address, prepare = VIEWS[name]
    looked_at.evaluate("localStorage.clear()")  # no bill of the view before
    looked_at.goto(fleet.url + address)
    prepare(looked_at)
    assert looked_at.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_serious_where_nobody_has_logged_in(
    chromium: Browser, fleet: ShopFleet, colours: str
) -> None:
    context = chromium.new_context(color_scheme=colours, viewport={"width": 820, "height": 900})
    page = context.new_page()
    page.goto(f"{fleet.url}/login")
    assert findings(page) == []
    page.get_by_label("Password").fill("a wrong one")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    assert findings(page) == []
    page.goto(f"http://127.0.0.1:{fleet.bridge.port}/")
    page.locator("#pulse.live").wait_for()
    assert findings(page) == []
    context.close()


def test_axe_would_find_what_is_serious(page: Page, fleet: ShopFleet) -> None:
    page.goto(fleet.url)
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert any("button-name" in line for line in findings(page))
