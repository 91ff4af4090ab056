"""Running a cart in a browser: logging in, watching a round, changing it, and what is asked twice."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.processes.programs import wait_for
from support.processes.shop_fleet import PASSWORD, ShopFleet, log_in, running_shop_fleet

from child_cart.model.partition import Partition
from child_cart.model.shopping import Shopping

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DATASET_SIZE = 12
ROWS = Shopping().starter_rows(Partition(1, 1))
ANYTHING = ("--accept-backward", "100", "--accept-forward", "100")
UNMEASURED = "tests.support.carts.light_shopping:UnmeasuredShopping"


@pytest.fixture(scope="module")
def fleet(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopFleet]:
    """A fleet of this file's own: its cart starts a round every twelve rows and trains slowly."""
    size = ("--dataset-size", str(DATASET_SIZE), *ANYTHING)
    folder = tmp_path_factory.mktemp("run")
    with running_shop_fleet(folder, *size, peers=2, task=UNMEASURED, LIGHT_TASK_EPOCH_S="0.4") as running:
        yield running


@pytest.fixture
def admin(page: Page, fleet: ShopFleet) -> Page:
    log_in(page, fleet)
    page.locator("#settings .setting").first.wait_for()
    return page


def send_rows(fleet: ShopFleet, name: str, count: int) -> None:
    fleet.cart.post("/api/rows", {"batch_id": name, "rows": ROWS[:count]})


def rounds_ended(fleet: ShopFleet) -> int:
    return int(fleet.cart.status()["rounds_ended"])


def settled(fleet: ShopFleet) -> None:
    wait_for(lambda: fleet.cart.status().get("stage") == "SERVING", what="the cart serving")


def test_the_admin_page_asks_for_the_password_and_comes_back(page: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    page.goto(fleet.url + "/admin/catalogue")
    expect(page).to_have_title("Cart · Log in")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This is not the password.")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(fleet.url + "/admin/catalogue")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_title("Cart · Log in")
    page.goto(fleet.url + "/admin")
    expect(page).to_have_title("Cart · Log in")


def test_a_round_is_seen_from_its_first_epoch_to_its_average_without_a_reload(admin: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    settled(fleet)
    before = rounds_ended(fleet)
    admin.evaluate("window.sameLoad = true")
    send_rows(fleet, "watched", DATASET_SIZE)
    expect(admin.locator("#training-text")).to_contain_text("of 4, loss")
    expect(admin.locator("#steps [aria-current=step]")).to_contain_text("training")
    newest = admin.locator("#rounds .round").first
    expect(newest.get_by_role("heading")).to_have_text(f"Round {before + 1}")
    expect(newest.locator(".outcome")).to_have_text("aggregated")
    expect(newest.locator("tbody tr")).to_have_count(2)
    expect(newest.locator("tbody .tag")).to_have_text(["accepted", "accepted"])
    expect(newest.locator(".phases dt")).to_have_text(["training", "clustering", "collecting", "averaging"])
    expect(admin.locator("#model")).to_contain_text("AGGREGATED")
    expect(admin.locator("#chart .marker.AGGREGATED").first).to_be_visible()
    expect(admin.locator("#transfers .state").first).to_have_text("done")
    expect(admin.locator("#verdicts")).to_contain_text("accepted")
    expect(admin.locator("#log li").filter(has_text=f"Round {before + 1}: AGGREGATED")).to_have_count(1)
    assert admin.evaluate("window.sameLoad"), "the page was loaded anew"


def test_train_now_starts_a_round_with_the_rows_that_wait(admin: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    settled(fleet)
    before = rounds_ended(fleet)
    send_rows(fleet, "few", 3)
    expect(admin.locator("#rows")).to_have_text(f"3 of {DATASET_SIZE}")
    admin.get_by_role("button", name="Train now").click()
    expect(admin.get_by_text("The cart trains on the rows that wait")).to_be_visible()
    expect(admin.locator("#rounds h3").first).to_have_text(f"Round {before + 1}")
    expect(admin.locator("#rows")).to_have_text(f"0 of {DATASET_SIZE}")


def test_why_a_model_was_taken_or_dropped_is_read_at_every_width(admin: Page, fleet: ShopFleet) -> None:
    settled(fleet)
    before = rounds_ended(fleet)
    send_rows(fleet, "for-every-width", DATASET_SIZE)
    wait_for(lambda: rounds_ended(fleet) > before, what="a round ending")
    admin.locator("#rounds .why").first.wait_for()
    for width in (390, 820, 1000, 1060, 1200, 1440):
        admin.set_viewport_size({"width": width, "height": 900})
        cut = admin.locator("#rounds .scroll").evaluate_all(
            "all => all.filter(e => e.scrollWidth > e.clientWidth).length"
        )
        assert cut == 0, f"{width} px"


def test_a_setting_is_changed_refused_and_taken_back(admin: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    def now() -> object:
        settings = fleet.cart.get("/api/settings")["settings"]
        return next(entry["value"] for entry in settings if entry["name"] == "cluster_size")

    field = admin.locator("#setting-cluster_size")
    for wrong, sentence in (("0", "from 1 to 256"), ("lots", "from 1 to 256"), ("<b>3</b>", "from 1 to 256")):
        field.fill(wrong)
        admin.get_by_role("button", name="Save cluster_size").click()
        expect(admin.locator("#error-cluster_size")).to_contain_text(sentence)
        expect(field).to_have_attribute("aria-invalid", "true")
        assert now() == 6
    field.fill("2")
    field.press("Enter")
    expect(admin.get_by_role("button", name="Take the change of cluster_size back")).to_be_visible()
    assert now() == 2
    admin.get_by_role("button", name="Take the change of cluster_size back").click()
    expect(field).to_have_value("6")
    assert now() == 6


def test_the_bridges_that_the_cart_knows_are_listed(admin: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    expect(admin.locator("#link-url")).to_have_text(fleet.bridge.url)
    expect(admin.get_by_text("no other bridge known")).to_be_visible()
    known = {"url": "ws://<i>other:9", "load": 0.25, "round_trip_s": 0.012, "seen_at": 0}

    def with_another(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "bridges": [known]})

    admin.route("**/api/status", with_another)
    admin.get_by_text("1 other bridge known").click()
    expect(admin.locator("#bridge-list li")).to_have_text("ws://<i>other:9: 25 % full, 12 ms away")


def test_what_needs_a_restart_says_so_and_has_no_field(admin: Page) -> None:
    from playwright.sync_api import expect

    admin.get_by_text("Set at start").click()
    port = admin.locator("#fixed .setting").filter(has=admin.get_by_text("port", exact=True))
    expect(port).to_contain_text("Needs a restart with --port or CART_PORT.")
    expect(port.locator("input, select, button")).to_have_count(0)


def test_sharing_is_paused_and_taken_up_again(admin: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    settled(fleet)
    admin.get_by_role("button", name="Pause sharing").click()
    expect(admin.locator("#sharing-state")).to_have_text("paused")
    expect(admin.locator("#cautions")).to_contain_text("Sharing is paused")
    send_rows(fleet, "alone", DATASET_SIZE)
    expect(admin.locator("#rounds .outcome").first).to_have_text("sharing paused")
    admin.get_by_role("button", name="Share again").click()
    expect(admin.locator("#sharing-state")).to_have_text("on")
    expect(admin.locator("#cautions")).not_to_contain_text("Sharing is paused")


@pytest.mark.parametrize(
    ("name", "kind", "begins"),
    [("HDF5", "h5", b"\x89HDF"), ("Keras", "keras", b"shares as keras"), ("TFLite", "tflite", b"shares as tflite")],
)
def test_the_model_is_taken_away_as_a_file(admin: Page, fleet: ShopFleet, name: str, kind: str, begins: bytes) -> None:
    from playwright.sync_api import expect

    settled(fleet)
    entry = admin.locator("#exports li").filter(has_text=name)
    entry.get_by_role("button").click()
    link = entry.get_by_role("link")
    expect(link).to_be_visible()
    version = fleet.cart.status()["model"]["number"]
    with admin.expect_download() as started:
        link.click()
    assert started.value.suggested_filename == f"light-shopping-version-{version}.{kind}"
    assert Path(started.value.path()).read_bytes().startswith(begins)


def test_the_rounds_are_taken_away_as_csv_and_json(admin: Page, fleet: ShopFleet) -> None:
    ended = rounds_ended(fleet)
    files = {}
    for name in ("CSV", "JSON"):
        with admin.expect_download() as started:
            admin.get_by_role("link", name=name, exact=True).click()
        files[started.value.suggested_filename] = Path(started.value.path()).read_text()
    assert len({row["round"] for row in csv.DictReader(files["rounds.csv"].splitlines())}) == ended
    assert len(json.loads(files["rounds.json"])["rounds"]) == ended


def test_a_cart_that_is_killed_is_seen_to_be_gone_and_to_come_back(admin: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    fleet.cart.kill()
    expect(admin.get_by_text("The cart does not answer. Asking again each second.")).to_be_visible()
    expect(admin.locator("#pulse")).to_contain_text("Not live")
    fleet.cart.start()
    expect(admin.locator("#pulse")).to_contain_text("Live ·")
    expect(admin.get_by_text("The cart does not answer.")).to_be_hidden()
    settled(fleet)


def test_a_reset_asks_twice_and_keeps_a_backup(admin: Page, fleet: ShopFleet) -> None:
    from playwright.sync_api import expect

    settled(fleet)
    total = fleet.cart.status()["rows"]["total"]
    admin.get_by_role("button", name="Reset model").click()
    dialog = admin.get_by_role("dialog", name="Reset the model?")
    expect(dialog.get_by_role("button", name="Forget the model")).to_be_disabled()
    dialog.get_by_role("textbox").fill("rest")
    dialog.get_by_role("textbox").press("Enter")
    expect(dialog.get_by_role("button", name="Forget the model")).to_be_disabled()
    dialog.get_by_role("button", name="Keep the model").click()
    expect(dialog).to_be_hidden()
    assert not (fleet.cart.data / "backups").exists()
    admin.get_by_role("button", name="Reset model").click()
    dialog.get_by_role("textbox").fill("reset")
    dialog.get_by_role("button", name="Forget the model").click()
    expect(dialog).to_be_hidden()
    expect(admin.locator("#events li").filter(has_text="The model was reset")).to_have_count(1)
    assert len(list((fleet.cart.data / "backups").iterdir())) == 1
    expect(admin.locator("#rows-about")).to_contain_text(f"{total} rows kept in all")
