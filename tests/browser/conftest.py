"""A browser and a cart to use it on. Without Chromium these tests are left out loudly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from support.browser import chromium as browser
from support.processes.shop_fleet import RYE_BREAD, ShopFleet, running_shop_fleet
from support.skip_loudly import skip_loudly

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


# Neither outlives its file: while Playwright runs, its loop is the thread's, and no asynchronous test can have one.
@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The browser, with a camera that is held at the label of the rye bread."""
    why_not = browser.why_not()
    if why_not:
        skip_loudly("the pages in a browser", why_not)
    with browser.chromium(*browser.camera_at(RYE_BREAD, tmp_path_factory.mktemp("camera"))) as running:
        yield running


@pytest.fixture(scope="module")
def fleet(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopFleet]:
    """A cart that many tests use: none leaves it otherwise than it was found, but for what was bought."""
    with running_shop_fleet(
        tmp_path_factory.mktemp("fleet"), "--dataset-size", "100000", "--max-round-rows", "100000"
    ) as running:
        yield running


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser without memory. That a page's script fails, or that its policy is broken, fails the test."""
    fresh = chromium.new_context(viewport={"width": 1280, "height": 800}, permissions=["camera"])
    fresh.set_default_timeout(browser.PATIENCE_MS)
    troubles = browser.Troubles(fresh)
    yield fresh
    fresh.close()
    assert troubles.seen == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
