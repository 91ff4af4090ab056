"""Start a cart: read its settings, claim its data folder, run it, and stop cleanly on a signal."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    # Also as a plain script from anywhere, without an installation.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cart_common.process.data_folder import claimed
from cart_common.process.errors import UserError
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError
from cart_common.process.tuning import new_event_loop, raise_malloc_thresholds, raise_open_file_limit
from cart_common.wire.fleet_key import Secret, as_text, bridge_token, new_key
from child_cart import command_line
from child_cart.cart import Cart, build
from child_cart.config import CartSettings, check
from child_cart.model.aggregation.registry import check_loads
from child_cart.model.task import Task, load_task

__all__ = ["mainFunc"]

log = logging.getLogger("cart")

DATA_NAMES: Final = (
    *("cart.db*", "models", "incoming", "exports", "backups", "scratch", "trainer.log", "key.pem*", "admin.json*"),
    *("session-key*", "api-token*", "bridges.json*", "store", "store.partial", "lock", "slot"),
)
"""Patterns of what a cart keeps in its data folder."""


async def serve(settings: CartSettings, task: Task, folder: Path) -> None:
    """Run a cart until SIGTERM or SIGINT.

    Raises:
        SettingError, StoreError, IdentityError, CsvError: if it cannot start with what it was given.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        cart = Cart(settings, build(settings, task, folder))
    except OSError as error:
        raise SettingError(f"The data folder {folder} cannot be used: {error_words(error)}.") from None
    log.info("shop page at %s, admin page at %sadmin", cart.page_url, cart.page_url)
    if cart.made_password is not None:
        show_password(cart.made_password, cart.page_url, folder)
    await cart.run(stop)


def show_password(password: str, page_url: str, folder: Path) -> None:
    """Print the password that was made up: on the console, once, and never in the log."""
    print(
        f"\nThe password of the admin page, shown this once:  {password}\n"
        f"Change it at {page_url}admin/password. If it is lost, stop the cart, remove {folder / 'admin.json'} and "
        "start it again: it then makes a new one.\n",
        flush=True,
    )


def keygen() -> None:
    """Print a new fleet key and the bridge token derived from it."""
    key = new_key()
    print("A new fleet key. It is stored nowhere: keep it in a file that only carts can read.\n")
    print(f"    {as_text(key, Secret.FLEET_KEY)}")
    print(f"    {as_text(bridge_token(key), Secret.BRIDGE_TOKEN)}\n")
    print("Each cart:    python child_cart/main.py --fleet-key-file FILE   (FILE holds the line fleet-key:…)")
    print("Each bridge:  python parent_cart/main.py --token-file FILE      (FILE holds the line bridge-token:…)")


def carry_out(given: argparse.Namespace, settings: CartSettings) -> None:
    """Carry out a command on the data of a cart that does not run.

    Raises:
        SettingError, StoreError, IdentityError, TaskError: if it cannot be.
    """
    from child_cart.operation import commands  # noqa: PLC0415 - a cart that runs needs none of it

    commands.check_given(given)
    with claimed(Path(settings.data_dir), "cart", DATA_NAMES) as folder:
        commands.carry_out(given, settings, folder)


def check_task(name: str, settings: CartSettings) -> None:
    """Try a task, and print what was found.

    Raises:
        TaskError, CsvError: if a part of it fails, or its rows cannot be read.
    """
    from child_cart.operation import task_check  # noqa: PLC0415 - a cart that runs needs none of it

    task_check.check_task(name, settings)


def run(settings: CartSettings) -> None:
    """Run a cart until it is told to stop.

    Raises:
        SettingError, StoreError, IdentityError, TaskError, CsvError: if it cannot start.
    """
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pymongo").setLevel(max(logging.INFO, logging.getLogger().level))  # at DEBUG it logs rows
    raise_malloc_thresholds()
    raise_open_file_limit()
    task = load_task(settings.task)
    check_loads(settings.aggregator)
    folder = claimed(Path(settings.data_dir), "cart", DATA_NAMES)
    with folder as held, asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(settings, task, held))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the process's exit status."""
    try:
        given, settings = command_line.read(sys.argv[1:] if argv is None else argv, os.environ)
        if given.command == command_line.KEYGEN:
            keygen()
            return 0
        check(settings)
        if given.command == command_line.CHECK_TASK:
            check_task(given.tried, settings)
            return 0
        if given.command is None:
            run(settings)
        else:
            carry_out(given, settings)
    except UserError as error:
        print(f"cart: {error}", file=sys.stderr)
        return 2
    return 0


def mainFunc() -> None:
    """Run a cart with the flags of the command line and the variables of the environment, until it is told to stop.

    For a script of one's own: ``from child_cart.main import *``, then ``mainFunc()``.

    Raises:
        SystemExit: with status 2 if the cart cannot start; the reason is on stderr.
    """
    if status := main():
        sys.exit(status)


if __name__ == "__main__":
    sys.exit(main())
