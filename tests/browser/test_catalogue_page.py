"""The catalogue and its labels in a browser: what an operator adds is sold, what is retired is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.processes.shop_fleet import ShopFleet, log_in, open_shop

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CSV = "code,name,category,price\nPLUM-1,Plums,3,2.20\nFIG-1,Figs,Fruit & vegetables,4.50\n"
HONEY = "HONEY-1"


def row_of(page: Page, name: str) -> Locator:
    return page.locator("#items tr").filter(has=page.get_by_role("rowheader", name=re.compile(f"^{name}")))


@pytest.fixture
def catalogue(page: Page, fleet: ShopFleet) -> Page:
    log_in(page, fleet, "/admin/catalogue")
    row_of(page, "Rye bread").wait_for()
    return page


def test_an_item_is_added_sold_changed_and_retired(catalogue: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    catalogue.get_by_role("button", name="Add an item").click()
    dialog = catalogue.get_by_role("dialog")
    dialog.get_by_label("Code").fill("bad code!")
    dialog.get_by_label("Price").fill("cheap")
    dialog.get_by_role("button", name="Save").click()
    for sentence in ("bad code!", "The name has 0 characters", "Write the price like 3.49."):
        expect(dialog.get_by_role("alert")).to_contain_text(sentence)
    expect(dialog.locator("[aria-invalid=true]")).to_have_count(3)
    expect(dialog.get_by_label("Code")).to_be_focused()
    dialog.get_by_label("Name").fill("Honey")
    dialog.get_by_label("Price").fill("6,40")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator("[aria-invalid=true]")).to_have_count(1)
    expect(dialog.get_by_role("alert")).to_contain_text("bad code!")
    dialog.get_by_label("Code").fill(HONEY)
    dialog.get_by_role("button", name="Save").click()
    expect(catalogue.locator("#message")).to_have_text("Honey is in the catalogue.")
    expect(row_of(catalogue, "Honey")).to_contain_text("6.40")
    shop = catalogue.context.new_page()
    open_shop(shop, fleet)
    shop.get_by_role("button", name="Put Honey in the bill").click()
    expect(shop.get_by_label("Total")).to_have_text("6.40")

    catalogue.get_by_role("button", name="Edit Honey").click()
    expect(dialog.get_by_label("Code")).not_to_be_editable()
    dialog.get_by_label("Price").fill("5.95")
    dialog.get_by_role("button", name="Save").click()
    expect(row_of(catalogue, "Honey")).to_contain_text("5.95")
    catalogue.get_by_role("button", name="Retire: Honey").click()
    expect(row_of(catalogue, "Honey")).to_have_count(0)
    catalogue.get_by_label("Show retired").check()
    expect(row_of(catalogue, "Honey")).to_contain_text("retired")
    open_shop(shop, fleet)
    expect(shop.get_by_role("button", name="Put Honey in the bill")).to_have_count(0)


def test_a_csv_file_is_taken_over_whole_or_not_at_all(catalogue: Page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    good, wrong = tmp_path / "good.csv", tmp_path / "wrong.csv"
    good.write_text(CSV)
    wrong.write_text(CSV.replace("2.20", "cheap").replace("FIG-1", "FIG-2"))
    catalogue.locator("#import").set_input_files(wrong)
    expect(catalogue.locator("#message-lines li")).to_have_count(1)
    expect(catalogue.locator("#message-lines")).to_contain_text("Line 2: ")
    expect(row_of(catalogue, "Figs")).to_have_count(0)
    catalogue.locator("#import").set_input_files(good)
    expect(catalogue.locator("#message")).to_contain_text("good.csv: 2 items added, 0 changed, 0 as before.")
    expect(row_of(catalogue, "Figs")).to_contain_text("4.50")
    for name in ("Plums", "Figs"):
        catalogue.get_by_role("button", name=f"Retire: {name}").click()
        expect(row_of(catalogue, name)).to_have_count(0)


def test_the_labels_that_were_picked_are_printed_and_nothing_else(catalogue: Page) -> None:
    from playwright.sync_api import expect

    for name in ("Gouda", "Lemons"):
        catalogue.get_by_label(f"Print a label for {name}", exact=True).check()
    catalogue.get_by_role("link", name="Print 2 labels").click()
    labels = catalogue.locator(".label")
    expect(labels).to_have_count(2)
    catalogue.emulate_media(media="print")
    expect(labels.first).to_be_visible()
    expect(catalogue.get_by_role("navigation", name="Pages", include_hidden=True)).to_be_hidden()
    expect(catalogue.get_by_role("heading", name="Shelf labels", include_hidden=True)).to_be_hidden()
    sheet = catalogue.pdf(format="A4")
    assert sheet.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", sheet)) == 1
