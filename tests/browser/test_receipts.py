"""Receipts on paper: whole at every width, no price in two lines, and printed again later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser.printing import text_of
from support.processes.shop_fleet import ShopFleet, log_in, open_shop

if TYPE_CHECKING:
    from playwright.sync_api import Page

LINES = 91
LONG = "Donaudampfschifffahrtsgesellschaftskapitaenspatent"
PAPERS: dict[str, dict[str, Any]] = {
    "A4": {"format": "A4"},
    "Letter": {"format": "Letter"},
    "80 mm": {"width": "80mm", "height": "200mm"},
    "58 mm": {"width": "58mm", "height": "200mm"},
}


@pytest.fixture
def sold(page: Page, fleet: ShopFleet) -> Page:
    """The receipt of a long bill, right after the check-out."""
    from playwright.sync_api import expect

    items = [
        {"code": f"LONG-{n}", "name": f"{LONG} {n}" if n % 9 == 0 else f"Item {n}", "category": 1, "price_cents": 12999}
        for n in range(LINES)
    ]
    known = {item["code"] for item in fleet.cart.get("/api/catalogue")["items"]}
    for item in items:
        if item["code"] not in known:
            fleet.cart.post("/api/catalogue", item)
    open_shop(page, fleet)
    page.evaluate(
        """lines => localStorage.setItem("cart.bill",
            JSON.stringify({ saleId: crypto.randomUUID(), gender: 0, sent: false, lines }))""",
        [{"code": item["code"], "amount": 12} for item in items],
    )
    page.reload()
    page.get_by_role("button", name="Check out").click()
    expect(page.get_by_role("region", name="Thank you")).to_be_visible()
    return page


def assert_whole(page: Page, paper: str, folder: Path) -> None:
    printed = text_of(page.pdf(**PAPERS[paper]), folder)
    words = re.sub(r"\s+", " ", printed)
    assert all(re.search(rf"Item {n}\b", words) for n in range(LINES) if n % 9), "a line is lost"
    lines = [line.strip() for line in printed.splitlines()]
    assert sum(re.search(r"(^| )1559\.88$", line) is not None for line in lines) == LINES, (
        "a price is lost or in two lines"
    )
    assert any(line.endswith("141949.08") for line in lines), "the total is lost"
    assert "Search items" not in words
    page.emulate_media(media="print")
    beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.emulate_media(media="screen")
    assert beyond <= 0


@pytest.mark.parametrize("paper", PAPERS)
def test_a_receipt_is_whole_on_paper(sold: Page, paper: str, tmp_path: Path) -> None:
    assert_whole(sold, paper, tmp_path)
    sold.get_by_role("link", name="Open as a page of its own").click()
    sold.get_by_role("heading", name="Receipt").wait_for()
    assert_whole(sold, paper, tmp_path)


def test_a_receipt_is_opened_again_by_the_shopper_and_by_the_operator(sold: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    sold.get_by_role("button", name="Put Gouda in the bill").click()  # a tap closes the receipt
    expect(sold.get_by_role("region", name="Thank you")).to_be_hidden()
    sold.reload()
    sold.get_by_role("link", name="141949.08").click()
    expect(sold.get_by_role("heading", name="Receipt")).to_be_visible()
    expect(sold.locator(".receipt li")).to_have_count(LINES)
    log_in(sold, fleet, "/admin/receipts")
    sold.get_by_role("link", name="receipt").first.click()
    expect(sold.locator(".receipt li")).to_have_count(LINES)
    sold.evaluate("window.print = () => { window.printed = true; }")
    sold.get_by_role("button", name="Print the receipt").click()
    assert sold.evaluate("window.printed")


def test_the_next_shopper_is_not_shown_the_receipt_for_long(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    page.clock.install()
    open_shop(page, fleet)
    page.get_by_role("button", name="Put Gouda in the bill").click()
    expect(page.get_by_label("Total")).to_have_text("4.89")
    page.get_by_role("button", name="Check out").click()
    page.get_by_role("button", name="New bill").click()
    expect(page.locator("#last-receipt")).to_be_visible()
    page.clock.run_for(11 * 60_000)
    expect(page.locator("#last-receipt")).to_be_hidden()
    assert page.evaluate("localStorage.getItem('cart.receipt')") is None
