"""A bridge and carts for browsers: real processes, with a model that learns at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.processes.programs import BridgeProcess, CartProcess, running, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD = "correct horse battery"
RYE_BREAD = "0200000000103"
TASK = "tests.support.carts.light_shopping:LightShopping"


@dataclass(frozen=True)
class ShopFleet:
    """The cart whose pages are used, its peers, and their bridge."""

    bridge: BridgeProcess
    cart: CartProcess
    peers: list[CartProcess]

    @property
    def url(self) -> str:
        """Where the cart's pages are, without a slash at the end."""
        return f"http://127.0.0.1:{self.cart.port}"


@contextmanager
def running_shop_fleet(
    folder: Path, *arguments: str, peers: int = 1, task: str = TASK, starter_rows: int = 10_000, **environment: str
) -> Iterator[ShopFleet]:
    """Run a bridge, a cart, and peers that hold a trained model; ``arguments`` are the cart's own."""
    password = folder / "password"
    password.write_text(PASSWORD)
    bridge = BridgeProcess(folder)
    common = ["--task", task, "--admin-password-file", str(password), "--trainer-idle-s", "600"]
    common += ["--starter-rows", str(starter_rows)]
    cart = CartProcess(folder / "cart", bridge.url, *common, *arguments, **environment)
    others = [
        CartProcess(folder / f"peer-{number}", bridge.url, *common, "--share", f"{number + 2}/{peers + 1}")
        for number in range(peers)
    ]
    with running(bridge):
        wait_for(bridge.answers, what="the bridge answering")
        with running(*others, cart):
            wait_for(
                lambda: all(one.status().get("stage") == "SERVING" for one in (*others, cart)), what="carts serving"
            )
            yield ShopFleet(bridge, cart, others)


def open_shop(page: Page, fleet: ShopFleet) -> None:
    """Go to the shop page and wait until its items are there."""
    page.goto(fleet.url)
    page.get_by_role("button", name="Put Rye bread in the bill").wait_for()


def log_in(page: Page, fleet: ShopFleet, address: str = "/admin") -> None:
    """Open an operator page through the login."""
    page.goto(fleet.url + address)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{address}")
