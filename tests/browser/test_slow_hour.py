"""A page in a slow hour: what is clicked before its script is ready is done as soon as it is, and once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.processes.shop_fleet import ShopFleet, log_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.usefixtures("chromium")


class Held:
    """Holds back what a page asks for, until it is let go."""

    def __init__(self, page: Page, address: str) -> None:
        self._waiting: list[Any] = []
        self._open = False
        page.route(address, self._hold)

    def let_go(self) -> None:
        self._open = True
        while self._waiting:
            self._waiting.pop().continue_()

    def _hold(self, route: Any) -> None:
        if self._open:
            route.continue_()
        else:
            self._waiting.append(route)


@pytest.mark.parametrize("slow", ["**/static/shelf.js", "**/api/catalogue"])
def test_the_item_dialog_opens_however_late_the_page_is_ready(page: Page, fleet: ShopFleet, slow: str) -> None:
    from playwright.sync_api import expect

    log_in(page, fleet)
    held = Held(page, slow)
    page.goto(f"{fleet.url}/admin/catalogue", wait_until="commit")
    add = page.get_by_role("button", name="Add an item")
    add.click()
    expect(add).to_have_attribute("aria-busy", "true")
    held.let_go()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(add).not_to_have_attribute("aria-busy", "true")


def test_a_file_that_was_chosen_too_early_is_imported(page: Page, fleet: ShopFleet, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    file = tmp_path / "early.csv"
    file.write_text("code,name,category,price\nEARLY-1,Early peas,3,1.00\n")
    log_in(page, fleet)
    held = Held(page, "**/static/shelf.js")
    page.goto(f"{fleet.url}/admin/catalogue", wait_until="commit")
    page.locator("#import").set_input_files(file)
    held.let_go()
    expect(page.locator("#message")).to_contain_text("early.csv: 1 item added")
    page.get_by_role("button", name="Retire: Early peas").click()


def test_an_early_click_acts_once(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    log_in(page, fleet)
    asked.clear()
    held = Held(page, "**/api/status")  # parts of the page listen already; the page is not ready
    page.goto(f"{fleet.url}/admin", wait_until="commit")
    page.locator("#settings .setting").first.wait_for()
    train = page.get_by_role("button", name="Train now")
    train.click()
    train.click()
    assert asked == []
    held.let_go()
    expect(page.locator("#message")).to_contain_text("The cart trains on the rows that wait")
    assert [url.removeprefix(fleet.url) for url in asked] == ["/api/train"]


def test_an_early_look_through_the_camera_is_taken(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    held = Held(page, "**/api/items")
    page.goto(fleet.url, wait_until="commit")
    page.get_by_role("button", name="This device").click()
    held.let_go()
    expect(page.get_by_role("button", name="This device")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("address", ["/nothing", "/receipt?sale=none", "/logout"])
def test_an_error_page_is_the_carts_own(page: Page, fleet: ShopFleet, address: str) -> None:
    from playwright.sync_api import expect

    answer = page.goto(fleet.url + address)
    assert answer is not None
    assert answer.status in (404, 405)
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("Not Found|Method Not Allowed"))).to_be_visible()
