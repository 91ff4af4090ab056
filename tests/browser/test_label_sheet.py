"""A sheet of shelf labels on paper: a price is whole and in one line, however long it and its currency are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.browser.printing import text_of
from support.processes.shop_fleet import ShopFleet, log_in, running_shop_fleet

from child_cart.config.settings import MAX_CURRENCY_CHARS
from child_cart.shop.catalogue import MAX_PRICE_CENTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CURRENCY = "W" * MAX_CURRENCY_CHARS
PRICES = (5, 2999, 123_456, MAX_PRICE_CENTS)


@pytest.fixture(scope="module")
def dear_shop(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopFleet]:
    """A cart with the widest currency."""
    with running_shop_fleet(tmp_path_factory.mktemp("dear"), "--currency", CURRENCY, peers=0) as running:
        for cents in PRICES:
            item = {"code": f"P-{cents}", "name": "Donaudampfschifffahrt at sea", "category": 1, "price_cents": cents}
            running.cart.post("/api/catalogue", item)
        yield running


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_a_price_never_breaks(page: Page, dear_shop: ShopFleet, paper: str, tmp_path: Path) -> None:
    log_in(page, dear_shop)
    page.goto(f"{dear_shop.url}/admin/labels?" + "&".join(f"code=P-{cents}" for cents in PRICES))
    printed = text_of(page.pdf(format=paper), tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    for cents in PRICES:
        assert re.search(rf"(?<![\d.]){cents // 100}\.{cents % 100:02} {CURRENCY}", printed), cents
    page.emulate_media(media="print")
    width_mm = {"A4": 210, "Letter": 216}[paper] - 16
    page.set_viewport_size({"width": int(width_mm / 25.4 * 96), "height": 1000})
    lines = page.locator(".label").evaluate_all(
        """labels => labels.map(label => {
            const range = document.createRange();
            range.selectNodeContents(label.querySelector(".price text, span.price"));
            const price = range.getBoundingClientRect(), code = label.querySelector(".code").getBoundingClientRect();
            const inner = label.getBoundingClientRect();
            return { beyond: price.right - inner.right, lines: range.getClientRects().length,
                below: code.bottom - inner.bottom, over: price.bottom - code.top };
        })"""
    )
    assert len(lines) == len(PRICES)
    for line in lines:
        assert line["lines"] == 1
        assert max(line["beyond"], line["below"], line["over"]) <= 1
