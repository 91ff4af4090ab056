"""Shopping in a browser, from the first look to the receipt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from support.processes.shop_fleet import ShopFleet, open_shop

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.usefixtures("chromium")


def put_in(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Put {name} in the bill").click()


def test_a_shopper_fills_a_bill_changes_it_and_checks_out(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    sales = fleet.cart.status()["sales"]
    open_shop(page, fleet)
    page.evaluate("window.sameLoad = true")
    total = page.get_by_label("Total")
    expect(page.get_by_role("button", name="Check out")).to_be_disabled()
    put_in(page, "Rye bread")
    put_in(page, "Rye bread")
    put_in(page, "Gouda")
    put_in(page, "Lemons")
    expect(total).to_have_text("13.46")  # 2 * 3.49 + 4.89 + 1.59
    page.get_by_role("button", name="One Rye bread more").click()
    expect(total).to_have_text("16.95")
    page.get_by_role("button", name="One Gouda less").click()
    expect(total).to_have_text("12.06")
    page.get_by_label("Amount of Lemons").fill("10")
    page.get_by_label("Amount of Lemons").press("Enter")
    expect(total).to_have_text("26.37")
    page.get_by_role("button", name="Remove Rye bread").click()
    expect(total).to_have_text("15.90")
    page.get_by_role("radio", name="Man", exact=True).check()
    page.get_by_role("button", name="Check out").click()
    receipt = page.get_by_role("region", name="Thank you")
    expect(receipt).to_contain_text("10 \u00d7 Lemons")
    expect(receipt).to_contain_text("15.90")
    expect(receipt).to_be_focused()
    assert page.evaluate("window.sameLoad"), "the page was loaded anew"
    assert fleet.cart.status()["sales"] == sales + 1
    page.emulate_media(media="print")  # what is printed is the receipt
    expect(receipt).to_contain_text(re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"))
    for name in ("Items", "Trending this month", "Scan"):
        expect(page.get_by_role("heading", name=name, include_hidden=True)).to_be_hidden()
    expect(page.get_by_role("button", name="New bill", include_hidden=True)).to_be_hidden()
    page.emulate_media(media="screen")
    page.get_by_role("button", name="New bill").click()
    expect(page.get_by_role("button", name="Check out")).to_be_disabled()


@pytest.mark.parametrize("amount", ["-3", "1.5", "1e3", "1000", "many"])
def test_an_amount_that_nobody_buys_is_refused_and_changes_nothing(page: Page, fleet: ShopFleet, amount: str) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    put_in(page, "Gouda")
    expect(page.get_by_label("Total")).to_have_text("4.89")
    page.get_by_label("Amount of Gouda").fill(amount)
    page.get_by_label("Amount of Gouda").press("Enter")
    expect(page.get_by_role("alert").filter(has_text="whole number from 1 to 999")).to_be_visible()
    expect(page.get_by_label("Amount of Gouda")).to_have_value("1")
    expect(page.get_by_label("Total")).to_have_text("4.89")


def test_items_are_found_by_name_code_and_category(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    every = page.locator("#items button.item")
    expect(every).to_have_count(24)
    page.get_by_role("searchbox").fill("oat")
    expect(every).to_have_count(2)
    page.get_by_role("searchbox").fill("0200000000509")
    expect(every).to_have_count(1)
    expect(every).to_contain_text("Gouda")
    page.get_by_role("searchbox").fill("nothing like it")
    expect(every).to_have_count(0)
    expect(page.get_by_text("No item is called “nothing like it”.")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    categories = page.get_by_role("group", name="Categories")
    categories.get_by_role("button", name="Drinks").click()
    expect(every).to_have_count(4)
    expect(every.first).to_contain_text("Iced tea")
    categories.get_by_role("button", name="All").click()
    expect(every).to_have_count(24)


def test_every_item_has_a_picture_that_the_cart_itself_serves(page: Page, fleet: ShopFleet) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_shop(page, fleet)
    sizes = page.locator("#items button.item svg use").evaluate_all(
        "uses => uses.map(use => { const box = use.getBBox(); return Math.min(box.width, box.height); })"
    )
    assert len(sizes) == 24
    assert min(sizes) > 5
    assert all(url.startswith(fleet.url) for url in asked), asked


def test_what_trends_is_what_the_model_of_this_cart_expects(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    for gender, name in enumerate(("Woman", "Man", "Not said")):
        page.get_by_role("radio", name=name, exact=True).check()
        expected = fleet.cart.get(f"/api/trending?gender={gender}")["trending"]
        expect(page.locator("#trending .name")).to_have_text([entry["name"] for entry in expected])
        shares = [f"{entry['share'] * 100:.0f}\N{NO-BREAK SPACE}%" for entry in expected]
        assert page.locator("#trending .number").all_inner_texts() == shares


def test_the_whole_purchase_goes_by_keyboard_alone(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)

    def tab_to(name: str, most: int = 90) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            label = page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()")
            if re.search(name, label):
                return
        pytest.fail(f"no Tab leads to {name}")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to("Put Croissant in the bill")
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    expect(page.get_by_label("Total")).to_have_text("2.58")
    expect(page.get_by_role("status").filter(has_text="Croissant: 2 in the bill.")).to_have_count(1)  # for listeners
    tab_to("One Croissant less")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Total")).to_have_text("1.29")
    tab_to("Check out")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "what has the focus cannot be seen"
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Thank you")).to_be_focused()
    tab_to("New bill")
    page.keyboard.press("Enter")
    expect(page.locator("#bill")).to_be_focused()


def test_a_bill_outlives_a_reload_and_is_sold_once_however_often_it_is_sent(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    put_in(page, "Spinach")
    expect(page.get_by_label("Total")).to_have_text("1.89")
    page.reload()
    expect(page.get_by_label("Total")).to_have_text("1.89")
    sales = fleet.cart.status()["sales"]

    def lose_the_answer(route: object) -> None:
        route.fetch()  # type: ignore[attr-defined]
        route.abort()  # type: ignore[attr-defined]

    page.route("**/api/checkout", lose_the_answer)
    page.get_by_role("button", name="Check out").click()
    expect(page.get_by_role("alert").filter(has_text="it is sold once, whatever happened")).to_be_visible()
    page.unroute("**/api/checkout")
    page.get_by_role("button", name="Check out again").click()
    expect(page.get_by_text("was sold by an earlier try, once")).to_be_visible()
    assert fleet.cart.status()["sales"] == sales + 1


# Prices that change while a page is open.


class Shelf:
    """Changes items as the operator does, and puts them back."""

    def __init__(self, fleet: ShopFleet) -> None:
        self._cart = fleet.cart
        self._before = {item["code"]: item for item in self._cart.get("/api/items")["items"]}

    def change(self, name: str, **fields: object) -> None:
        code = next(code for code, item in self._before.items() if item["name"] == name)
        self._cart.put(f"/api/catalogue/{code}", fields)

    def put_back(self) -> None:
        for code, item in self._before.items():
            kept = {"price_cents": item["price_cents"], "retired": False}
            self._cart.put(f"/api/catalogue/{code}", kept)


@pytest.fixture
def shelf(fleet: ShopFleet) -> Iterator[Shelf]:
    shelf = Shelf(fleet)
    yield shelf
    shelf.put_back()


def test_a_shopper_pays_what_the_page_showed_or_is_asked(page: Page, fleet: ShopFleet, shelf: Shelf) -> None:
    from playwright.sync_api import expect

    sales = fleet.cart.status()["sales"]
    open_shop(page, fleet)
    put_in(page, "Rye bread")
    put_in(page, "Gouda")
    expect(page.get_by_label("Total")).to_have_text("8.38")
    shelf.change("Rye bread", price_cents=999)
    page.get_by_role("button", name="Check out").dblclick()  # the second click of a hurried hand agrees to nothing
    told = page.get_by_role("alert").filter(has_text="Rye bread costs 9.99 now, not 3.49.")
    expect(told).to_contain_text("The total is 14.88 now")
    expect(page.get_by_label("Total")).to_have_text("14.88")
    line = page.locator("#lines li").filter(has_text="Rye bread")
    expect(line).to_have_class(re.compile("dearer"))
    expect(line).to_contain_text("It was 3.49")
    expect(page.locator("#lines .dearer")).to_have_count(1)
    expect(page.get_by_role("button", name="Put Rye bread in the bill, 9.99")).to_be_visible()
    assert fleet.cart.status()["sales"] == sales
    page.get_by_role("button", name="Check out").click()
    expect(page.get_by_role("region", name="Thank you")).to_contain_text("14.88")
    assert fleet.cart.status()["sales"] == sales + 1


def test_a_lower_price_passes_and_is_what_is_paid(page: Page, fleet: ShopFleet, shelf: Shelf) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    put_in(page, "Gouda")
    expect(page.get_by_label("Total")).to_have_text("4.89")
    shelf.change("Gouda", price_cents=100)
    page.get_by_role("button", name="Check out").click()
    expect(page.get_by_role("region", name="Thank you")).to_contain_text("1.00")


def test_a_page_in_sight_renews_prices_and_items(page: Page, fleet: ShopFleet, shelf: Shelf) -> None:
    from playwright.sync_api import expect

    page.clock.install()
    open_shop(page, fleet)
    put_in(page, "Rye bread")
    expect(page.get_by_label("Total")).to_have_text("3.49")
    shelf.change("Rye bread", price_cents=400)
    shelf.change("Lemons", price_cents=50)
    shelf.change("Gouda", retired=True)
    page.clock.run_for(11_000)
    expect(page.get_by_label("Total")).to_have_text("4.00")
    expect(page.locator("#lines .dearer")).to_contain_text("It was 3.49")
    expect(page.get_by_role("button", name="Put Lemons in the bill, 0.50")).to_be_visible()
    expect(page.get_by_role("button", name="Put Gouda in the bill")).to_have_count(0)


def test_a_retired_item_on_a_bill_is_named_and_taken_off(page: Page, fleet: ShopFleet, shelf: Shelf) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    put_in(page, "Rye bread")
    put_in(page, "Gouda")
    expect(page.get_by_label("Total")).to_have_text("8.38")
    shelf.change("Rye bread", retired=True)
    shelf.change("Gouda", price_cents=500)
    page.get_by_role("button", name="Check out").click()
    sentence = page.get_by_role("alert").filter(has_text="Rye bread is no longer sold: take it off the bill.")
    expect(sentence).to_contain_text("Gouda costs 5.00 now, not 4.89.")
    page.reload()  # the bill and what is wrong with it outlive that
    expect(sentence).to_be_visible()
    expect(page.locator("#lines .gone")).to_contain_text("Rye bread")
    expect(page.locator("#lines .dearer")).to_contain_text("It was 4.89")
    expect(page.get_by_label("Total")).to_have_text("5.00")
    page.get_by_role("button", name="Remove Rye bread").click()
    expect(sentence).to_have_count(0)
    page.get_by_role("button", name="Check out").click()
    expect(page.get_by_role("region", name="Thank you")).to_contain_text("5.00")
