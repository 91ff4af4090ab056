"""Scanning in a browser, all ways: its camera, a photo, a hand scanner that types, and the cart's own camera."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from support.browser import code_pictures as pictures
from support.browser.chromium import scan_with_keys
from support.processes.shop_fleet import RYE_BREAD, ShopFleet, open_shop, running_shop_fleet

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

GOUDA = "0200000000509"
UNKNOWN = "4000000000013"


def test_the_browsers_camera_reads_a_label_once_for_as_long_as_it_is_in_sight(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    button = page.get_by_role("button", name="This device")
    button.click()
    expect(page.get_by_text("Rye bread, 3.49: 1 in the bill.")).to_be_visible()
    expect(page.get_by_label("Total")).to_have_text("3.49")
    for _ in range(3):
        with page.expect_response("**/api/scan?thorough=0") as look:
            pass
        assert [found["text"] for found in look.value.json()["codes"]] == [RYE_BREAD]
    expect(page.get_by_label("Amount of Rye bread")).to_have_value("1")
    button.click()
    expect(page.locator("#scan-view")).to_be_hidden()
    assert page.evaluate("document.querySelector('#scan-video').srcObject") is None, "the camera still films"


def test_a_camera_that_is_not_allowed_is_said_so(context: BrowserContext, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    context.clear_permissions()
    page = context.new_page()
    open_shop(page, fleet)
    page.get_by_role("button", name="This device").click()
    expect(page.get_by_text("The camera was not allowed.")).to_be_visible()
    expect(page.locator("#scan-view")).to_be_hidden()


def test_a_photo_is_read_and_one_without_codes_is_said_so(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    shelf = pictures.on_a_shelf(pictures.ean_13(RYE_BREAD), pictures.qr(GOUDA), size=(1000, 500))
    for picture, sentence in (
        (shelf, "Gouda, 4.89: 1 in the bill."),
        (pictures.on_a_shelf(size=(300, 300)), "No code was found in the photo."),
        (pictures.on_a_shelf(pictures.qr(UNKNOWN)), "No item of this shop has the code 4000000000013."),
    ):
        photo = {"name": "photo.png", "mimeType": "image/png", "buffer": pictures.encoded(picture)}
        page.locator("#scan-photo").set_input_files(photo)
        expect(page.locator("#scan-said")).to_contain_text(sentence)
    expect(page.get_by_label("Total")).to_have_text("8.38")


def test_a_file_that_is_no_picture_is_refused_with_a_sentence(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    page.locator("#scan-photo").set_input_files(
        {"name": "photo.png", "mimeType": "image/png", "buffer": b"<script>alert(1)</script>" * 100}
    )
    expect(page.locator("#scan-said")).to_contain_text("picture")
    expect(page.locator("#scan-said")).to_have_class("notice bad")


def test_a_hand_scanner_types_into_the_bill_and_not_into_the_field_that_has_the_focus(
    page: Page, fleet: ShopFleet
) -> None:
    from playwright.sync_api import expect

    open_shop(page, fleet)
    search = page.get_by_role("searchbox")
    search.fill("oat")
    scan_with_keys(page, RYE_BREAD)
    expect(page.get_by_text("Rye bread, 3.49: 1 in the bill.")).to_be_visible()
    expect(search).to_have_value("oat")
    page.locator("main").focus()
    scan_with_keys(page, UNKNOWN)
    expect(page.locator("#scan-said")).to_contain_text("No item of this shop has the code 4000000000013.")
    scan_with_keys(page, GOUDA, gap_s=0.3)  # a person's pace: this is no scanner
    scan_with_keys(page, RYE_BREAD)
    expect(page.get_by_text("Rye bread, 3.49: 2 in the bill.")).to_be_visible()
    expect(page.get_by_label("Total")).to_have_text("6.98")


def test_the_carts_own_camera_is_shown_and_read(chromium: Browser, page: Page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    film = tmp_path / "film.avi"
    pictures.film(str(film), [pictures.on_a_shelf(pictures.ean_13(GOUDA))] * 3)
    with running_shop_fleet(tmp_path, "--camera", str(film), "--currency", "€", peers=0) as fleet:
        open_shop(page, fleet)
        page.get_by_role("button", name="The cart").click()
        expect(page.get_by_text("Gouda, 4.89\N{NO-BREAK SPACE}€: 1 in the bill.")).to_be_visible()
        expect(page.get_by_label("Total")).to_have_text("4.89\N{NO-BREAK SPACE}€")
        expect(page.locator("#scan-frame")).to_have_js_property("naturalWidth", 640)
