"""A hand scanner on the shop page: whatever its pace, suffix and layout, it sells what was scanned or says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.browser.chromium import azerty, scan_with_keys
from support.processes.shop_fleet import RYE_BREAD, ShopFleet, log_in, open_shop

if TYPE_CHECKING:
    from playwright.sync_api import Page

GOUDA = "0200000000509"
PLU = "4011"
OWN = "MQ-WAZ1"
TEA = "GT-77"
PACES_S = (0.001, 0.035, 0.06, 0.12)


@pytest.fixture
def shop(page: Page, fleet: ShopFleet) -> Page:
    have = {item["code"] for item in fleet.cart.get("/api/catalogue")["items"]}
    for code, name in ((PLU, "Bananas"), (OWN, "Jam"), (TEA, "Green tea"), ("CREAM", "Single cream")):
        if code not in have:
            fleet.cart.post("/api/catalogue", {"code": code, "name": name, "category": 3, "price_cents": 100})
    open_shop(page, fleet)
    return page


@pytest.fixture
def operator(page: Page, fleet: ShopFleet) -> Page:
    log_in(page, fleet)
    page.get_by_label("keep_rounds", exact=False).first.wait_for()
    return page


def amounts(page: Page) -> dict[str, str]:
    """What is in the bill."""
    names, fields = page.locator("#lines .name").all_inner_texts(), page.locator("#lines .amount")
    return dict(zip(names, [field.input_value() for field in fields.all()], strict=True))


def expect_said(page: Page, sentence: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#scan-said")).to_contain_text(sentence)


@pytest.mark.parametrize("suffix", ["Enter", "Tab", ""], ids=["Enter", "Tab", "silence"])
@pytest.mark.parametrize("pace_s", PACES_S)
@pytest.mark.parametrize("focus", ["page", "button", "search"])
def test_a_scan_puts_its_item_in_the_bill_and_does_nothing_else(
    shop: Page, pace_s: float, suffix: str, focus: str
) -> None:
    rye_bread = shop.get_by_role("button", name="Put Rye bread in the bill")
    rye_bread.click()
    if focus == "button":
        rye_bread.focus()
    if focus == "search":
        shop.get_by_role("searchbox").fill("oat")
    scan_with_keys(shop, GOUDA, pace_s, suffix)
    expect_said(shop, "Gouda, 4.89: 1 in the bill.")
    assert amounts(shop) == {"Rye bread": "1", "Gouda": "1"}
    assert shop.get_by_role("searchbox").input_value() == ("oat" if focus == "search" else "")
    if focus == "button":
        assert rye_bread.evaluate("button => button === document.activeElement"), "Tab has moved the focus"


@pytest.mark.parametrize("suffix", ["Enter", "Tab", ""], ids=["Enter", "Tab", "silence"])
@pytest.mark.parametrize(("code", "name"), [(PLU, "Bananas"), (OWN, "Jam")])
def test_a_code_of_the_shops_own_is_scanned_too(shop: Page, code: str, name: str, suffix: str) -> None:
    shop.get_by_role("button", name="Put Rye bread in the bill").focus()
    scan_with_keys(shop, code, 0.05, suffix)
    expect_said(shop, f"{name}, 1.00: 1 in the bill.")
    assert amounts(shop) == {name: "1"}


@pytest.mark.parametrize("pace_s", PACES_S)
@pytest.mark.parametrize("code", ["401", "GT-7", "77", "40"])
def test_a_part_of_a_code_in_the_search_field_sells_nothing_and_says_so(shop: Page, code: str, pace_s: float) -> None:
    search = shop.get_by_role("searchbox")
    search.focus()
    scan_with_keys(shop, code, pace_s)
    expect_said(shop, f"No item of this shop has the code {code}.")
    assert search.input_value() == ""
    assert amounts(shop) == {}


@pytest.mark.parametrize("pace_s", PACES_S)
@pytest.mark.parametrize(("code", "name"), [(PLU, "Bananas"), (TEA, "Green tea"), ("CREAM", "Single cream")])
def test_scans_into_the_search_field_do_not_join(shop: Page, code: str, name: str, pace_s: float) -> None:
    shop.get_by_role("searchbox").focus()
    for amount in ("1", "2"):
        scan_with_keys(shop, code, pace_s)
        expect_said(shop, f"{name}, 1.00: {amount} in the bill.")
    assert amounts(shop) == {name: "2"}
    assert shop.get_by_role("searchbox").input_value() == ""


def test_a_similar_name_is_never_taken_and_the_next_text_replaces_it(shop: Page) -> None:
    from playwright.sync_api import expect

    search = shop.get_by_role("searchbox")
    search.focus()
    scan_with_keys(shop, "goud", 0.1)
    expect(shop.locator("#found")).to_have_text("1 item found, but none is called exactly “goud”. Tap one.")
    scan_with_keys(shop, "brea", 0.1)
    expect(search).to_have_value("brea")
    assert amounts(shop) == {}


def test_after_a_bill_the_focus_is_not_where_a_scanner_would_type(shop: Page) -> None:
    from playwright.sync_api import expect

    shop.get_by_role("button", name="Put Rye bread in the bill").click()
    shop.get_by_role("button", name="Check out").click()
    shop.get_by_role("button", name="New bill").click()
    expect(shop.locator("#bill")).to_be_focused()


@pytest.mark.parametrize(("code", "name"), [(GOUDA, "Gouda"), (PLU, "Bananas"), (OWN, "Jam")])
@pytest.mark.parametrize("suffix", ["Enter", ""], ids=["Enter", "silence"])
def test_an_american_scanner_at_a_french_computer(shop: Page, code: str, name: str, suffix: str) -> None:
    scan_with_keys(shop, code, 0.02, suffix, azerty)
    expect_said(shop, f"{name}, ")
    assert amounts(shop) == {name: "1"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"]E0{RYE_BREAD}", "Rye bread, 3.49: 1"),
        (f"]C101{RYE_BREAD.rjust(14, '0')}10L1\x1d17270101", "Rye bread, 3.49: 1"),
        (f"https://shop.example/01/{RYE_BREAD.rjust(14, '0')}/10/{'L' * 80}", "Rye bread, 3.49: 1"),
        (f"https://shop.example/01/05012345678900/10/{'L' * 80}{PLU}", "has the code 5012345678900."),
        ("x" * 1000 + PLU, "A scan of more than 1000 characters was dropped"),
        (f"BEGIN:VCARD\n{PLU}\nEND:VCARD", "is not the code of an item."),
        (f"{RYE_BREAD}\n{RYE_BREAD}", "Rye bread, 3.49: 2"),
    ],
    ids=["AIM id", "element string", "link", "long link", "too long", "lines", "two codes"],
)
@pytest.mark.parametrize("suffix", ["Enter", ""], ids=["Enter", "silence"])
def test_a_long_text_is_taken_as_a_whole_or_dropped_as_a_whole(
    shop: Page, text: str, sentence: str, suffix: str
) -> None:
    scan_with_keys(shop, text, 0.005, suffix)
    expect_said(shop, sentence)
    assert amounts(shop) == ({"Rye bread": sentence[-1]} if sentence.startswith("Rye bread") else {})


@pytest.mark.parametrize("pace_s", PACES_S)
@pytest.mark.parametrize("suffix", ["Enter", "Tab", ""], ids=["Enter", "Tab", "silence"])
def test_codes_that_follow_each_other_are_taken_out_of_a_field(shop: Page, pace_s: float, suffix: str) -> None:
    shop.get_by_role("searchbox").fill("oat")
    scan_with_keys(shop, f"{GOUDA}\n{RYE_BREAD}", pace_s, suffix)
    expect_said(shop, "Rye bread, 3.49: 1 in the bill.")
    assert amounts(shop) == {"Gouda": "1", "Rye bread": "1"}
    assert shop.get_by_role("searchbox").input_value() == "oat"


def test_a_scan_in_pieces_is_dropped_as_a_whole(shop: Page) -> None:
    session = shop.context.new_cdp_session(shop)
    shop.get_by_role("button", name="Put Rye bread in the bill").focus()
    at = shop.evaluate("Date.now() / 1000")
    for key, after_s in [*((key, 0.02) for key in "501234"), ("5", 0.5), *((key, 0.02) for key in PLU[1:])]:
        at += after_s
        session.send("Input.dispatchKeyEvent", {"type": "keyDown", "timestamp": at, "key": key, "text": key})
    enter = {"key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}
    session.send("Input.dispatchKeyEvent", {"type": "keyDown", "timestamp": at + 0.02, **enter})
    expect_said(shop, "came in pieces and was dropped. Scan it again.")
    assert amounts(shop) == {}


def test_what_a_tap_has_pressed_does_not_keep_the_focus(shop: Page) -> None:
    shop.get_by_role("button", name="Put Rye bread in the bill").click()
    assert shop.evaluate("document.activeElement === document.body")


def test_a_person_who_types_is_no_scanner(shop: Page) -> None:
    from playwright.sync_api import expect

    search = shop.get_by_role("searchbox")
    search.focus()
    scan_with_keys(shop, "gouda", 0.1)  # Enter takes the only item that is found
    expect(shop.get_by_label("Amount of Gouda")).to_have_value("1")
    expect(search).to_have_value("")
    shop.get_by_label("Amount of Gouda").focus()
    shop.keyboard.press("Control+A")
    scan_with_keys(shop, "12", 0.1)
    expect(shop.get_by_label("Total")).to_have_text("58.68")
    shop.get_by_role("button", name="One Gouda more").focus()
    scan_with_keys(shop, "  ", 0.1, "")
    scan_with_keys(shop, "", 0.1)
    expect(shop.get_by_label("Amount of Gouda")).to_have_value("15")
    assert amounts(shop) == {"Gouda": "15"}


@pytest.mark.parametrize("suffix", ["Enter", "Tab", ""], ids=["Enter", "Tab", "silence"])
@pytest.mark.parametrize("pace_s", [PACES_S[0], PACES_S[-1]])
@pytest.mark.parametrize(
    ("focus", "code"), [("page", GOUDA), ("button", GOUDA), ("button", PLU), ("setting", GOUDA), ("setting", PLU)]
)
def test_a_scan_on_the_admin_page_presses_and_saves_nothing(
    operator: Page, fleet: ShopFleet, code: str, pace_s: float, suffix: str, focus: str
) -> None:
    from playwright.sync_api import expect

    sent: list[str] = []
    operator.on("request", lambda request: sent.append(request.url) if request.method != "GET" else None)
    setting = operator.get_by_label("max_round_rows", exact=False).first
    if focus == "button":
        operator.get_by_role("button", name="Train now").focus()
    if focus == "setting":
        setting.focus()
        operator.keyboard.press("End")
        operator.keyboard.press("Control+A")
    before = setting.input_value()
    scan_with_keys(operator, code, pace_s, suffix)
    is_seen = focus != "setting" or code == GOUDA or pace_s <= 0.035
    if is_seen:
        expect(operator.locator("#scanned")).to_contain_text(f"“{code}” was scanned.")
        assert setting.input_value() == before
    elif suffix == "Enter":
        expect(operator.locator("#scanned")).to_contain_text("Nothing was done: this Enter came as fast")
    operator.evaluate("fetch('/api/settings')")  # whatever the keys have sent went before
    assert sent == []


def test_a_person_can_still_save_a_setting_with_enter(operator: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    setting = operator.get_by_label("keep_rounds", exact=False).first
    for typed, gap_s, again in (("12345", 0.3, False), ("654321", 0.12, True)):
        setting.focus()
        operator.keyboard.press("Control+A")
        scan_with_keys(operator, typed, gap_s)
        if again:
            expect(operator.locator("#scanned")).to_contain_text("Press Enter again")
            assert setting.input_value() == typed
            scan_with_keys(operator, "", 0.3)
        expect(operator.locator("#settings form", has=setting).get_by_text("At start it was")).to_be_visible()
    operator.get_by_role("button", name="Take the change of keep_rounds back").click()


def test_a_scan_on_the_catalogue_page_finds_or_names_the_item_and_presses_nothing(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    log_in(page, fleet, "/admin/catalogue")
    page.get_by_role("button", name="Retire: Rye bread").focus()
    scan_with_keys(page, f"]E0{GOUDA}", 0.05)
    expect(page.locator("#message")).to_have_text("Gouda was scanned.")
    expect(page.locator("#items tr")).to_have_count(1)
    page.get_by_role("button", name="Add an item").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").focus()
    scan_with_keys(page, "5012345678900", 0.05)
    expect(dialog.get_by_label("Code")).to_have_value("5012345678900")
    expect(dialog.get_by_label("Name")).to_have_value("")
    expect(page.locator("#item-error")).to_be_hidden()
    assert fleet.cart.get("/api/catalogue")["items"][0]["retired"] is False
