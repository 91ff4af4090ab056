"""Pictures of every page at three widths, in light and dark, of a small fleet that has learned for a while.

.venv/bin/python -m tests.support.browser.screenshots /tmp/pictures [--task shopping] [--only admin] [--docs]
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.browser import chromium as browser
from support.processes.programs import ROOT, wait_for
from support.processes.shop_fleet import RYE_BREAD, TASK, ShopFleet, log_in, running_shop_fleet

from child_cart.model.partition import Partition
from child_cart.model.shopping import Shopping

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = (390, 820, 1440)
HEIGHTS = {390: 844, 820: 1180, 1440: 900}
ROUNDS = 6
ROWS_EACH = 20
PEERS = 3
COLOURS = 256


@dataclass(frozen=True)
class View:
    """A page, what is done on it before the picture is taken, and whether the picture is of all of it."""

    address: str
    prepare: Callable[[Page], Any] = lambda page: None
    whole: bool = True


def fill_bill(page: Page) -> None:
    for name in ("Rye bread", "Gouda", "Lemons", "Lemons", "Dark chocolate"):
        page.get_by_role("button", name=f"Put {name} in the bill").click()
    page.get_by_label("Total").get_by_text("13.85").wait_for()
    page.evaluate("document.activeElement.blur()")


def check_out(page: Page) -> None:
    fill_bill(page)
    page.get_by_role("button", name="Check out").click()
    page.get_by_role("region", name="Thank you").wait_for()


def wait_for_admin(page: Page) -> None:
    page.locator("#rounds .round").first.wait_for()
    page.locator("#settings .setting").first.wait_for()
    page.locator("#log li").first.wait_for()


def ask_to_reset(page: Page) -> None:
    wait_for_admin(page)
    page.get_by_role("button", name="Reset model").click()


def wrong_setting(page: Page) -> None:
    wait_for_admin(page)
    page.locator("#setting-dataset_size").fill("0")
    page.locator("#setting-dataset_size").press("Enter")
    page.locator("#error-dataset_size").wait_for()


def edit_item(page: Page) -> None:
    page.get_by_role("button", name="Add an item").click()
    page.locator("#item-code").fill("123")
    page.get_by_role("button", name="Save").click()


def film(page: Page) -> None:
    page.get_by_role("button", name="This device").click()
    page.get_by_text("Rye bread, 3.49").wait_for()


VIEWS = {
    "shop": View("/", fill_bill),
    "shop-empty": View("/", lambda page: page.get_by_role("button", name="Put Rye bread").wait_for()),
    "receipt": View("/", check_out, whole=False),
    "scan": View("/", film),
    "login": View("/login"),
    "admin": View("/admin", wait_for_admin),
    "reset": View("/admin", ask_to_reset, whole=False),
    "setting": View("/admin", wrong_setting, whole=False),
    "password": View("/admin/password"),
    "catalogue": View("/admin/catalogue", lambda page: page.locator("#items tr").first.wait_for()),
    "item": View("/admin/catalogue", edit_item, whole=False),
    "labels": View("/admin/labels?category=1"),
    "bridge": View("bridge", lambda page: page.locator("#pulse.live").wait_for()),
}
OPEN = ("shop", "shop-empty", "receipt", "scan", "login", "bridge")
"""What is seen without a login."""
SHOWN_HEIGHTS = {390: 1800, 820: 1500, 1440: 1650}
"""How much of a page's height the pictures of the documentation show, by the width of the window."""


@contextmanager
def learned(folder: Path, task: str) -> Iterator[ShopFleet]:
    """Run a fleet that has gone through some rounds, each of its carts with rows of its own months."""
    size = ["--dataset-size", str(ROWS_EACH), "--cluster-size", str(PEERS)]
    with running_shop_fleet(folder, *size, "--share", "1/4", peers=PEERS, task=task, starter_rows=400) as fleet:
        rows = Shopping().starter_rows(Partition(1, 4))
        for number in range(ROUNDS):
            batch = rows[400 + number * ROWS_EACH :][:ROWS_EACH]
            fleet.cart.post("/api/rows", {"batch_id": f"rows-{number}", "rows": batch})
            wait_for(lambda done=number: fleet.cart.status()["rounds_ended"] > done, what="a round ending")
        for number in range(4):
            lines = [{"code": f"020000000{code}", "amount": 1} for code in ("0103", "0509", "1209")]
            fleet.cart.post("/api/checkout", {"sale_id": f"sale-{number}", "gender": number % 2, "lines": lines})
        giver = fleet.peers[0]  # learns once, so that the cart has given its model away
        giver.post("/api/rows", {"batch_id": "rows", "rows": Shopping().starter_rows(Partition(2, 4))[400:][:100]})
        wait_for(lambda: fleet.cart.status()["bytes_out"], what="the cart's model given away")
        yield fleet


def small_png(picture: bytes, height: int) -> bytes:
    """Return the upper part of a picture, with few colours: that takes little room."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, height)))
    written = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return written.getvalue()


def take(running: Browser, fleet: ShopFleet, name: str, width: int, dark: bool) -> bytes:
    """Return the picture of a page."""
    view = VIEWS[name]
    context = running.new_context(
        viewport={"width": width, "height": HEIGHTS[width]},
        color_scheme="dark" if dark else "light",
        permissions=["camera"],
    )
    context.set_default_timeout(browser.PATIENCE_MS)
    try:
        page = context.new_page()
        if name not in OPEN:
            log_in(page, fleet)
        bridge = f"http://127.0.0.1:{fleet.bridge.port}/"
        page.goto(bridge if view.address == "bridge" else fleet.url + view.address)
        view.prepare(page)
        page.mouse.move(0, 0)
        if view.whole:
            page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(400)
        return page.screenshot(full_page=view.whole)
    finally:
        context.close()


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", default=TASK)
    parser.add_argument("--only", nargs="*", choices=VIEWS, default=list(VIEWS))
    parser.add_argument("--widths", nargs="*", type=int, choices=WIDTHS, default=WIDTHS)
    parser.add_argument("--dark", action="store_true", help="in dark as well")
    parser.add_argument("--docs", action="store_true", help="write those of the documentation, to docs/images")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    taken = count()
    with (
        tempfile.TemporaryDirectory() as folder,
        learned(Path(folder), options.task) as fleet,
        browser.chromium(*browser.camera_at(RYE_BREAD, Path(folder))) as running,
    ):
        if options.docs:
            for name in options.only:
                for width in options.widths:
                    small = small_png(take(running, fleet, name, width, False), SHOWN_HEIGHTS[width])
                    (ROOT / f"docs/images/{name}-{width}.png").write_bytes(small)
            return
        for dark in (False, True)[: 1 + options.dark]:
            for name in options.only:
                for width in options.widths:
                    path = options.folder / f"{name}-{width}{'-dark' if dark else ''}.png"
                    path.write_bytes(take(running, fleet, name, width, dark))
                    next(taken)
    print(f"{next(taken)} pictures are in {options.folder}")


if __name__ == "__main__":
    main()
