"""What can be typed after ``main.py``: a command or none, what that command takes, and settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from cart_common.process.redaction import shown
from cart_common.process.settings import CommandLine, SettingError

from .config import CartSettings
from .model.task import BUILT_IN

COMMANDS = {
    "keygen": "Print a new fleet key, and the token of it for bridges.",
    "export": "Write everything that a cart keeps into a new folder: CSV, JSON and HDF5 files.",
    "import": "Fill the empty store of a cart with what was exported.",
    "migrate": "Move everything from one store of a cart to another, empty one.",
    "check-task": "Try a task without a cart: build, train, measure, send, receive and export its model, and print its "
    "shapes, sizes and times. Exit status 2 if a part fails, with the line of your code.",
    "reset": "Forget the model and its rounds; sales and rows are kept, and all rows wait again.",
}
DESCRIPTION = (
    "Run a cart: it sells, keeps its purchases to itself, learns from them, and averages its model with those of "
    "other carts through a bridge. Its pages are at http://HOST:PORT/ (shop) and http://HOST:PORT/admin, "
    "or at https:// with --tls-cert and --tls-key. "
    "With a command before any flags it does something else instead: keygen prints a new fleet key; "
    "check-task MODULE:CLASS tries a task of your own; export DIR, "
    "import DIR, migrate --from STORE --to STORE and reset work on the data of a cart that does not run. Each command "
    "has a --help of its own."
)
PLACES = "a command comes before everything else, and a value after its flag"
KEYGEN = "keygen"
CHECK_TASK = "check-task"
WITHOUT_DATA = (KEYGEN, CHECK_TASK)
"""Commands that touch the data of no cart."""
FIRST_PORT = 5000
"""The port of cart number 0, if there were one: cart 3 of a machine has its pages at 5003."""
OF_A_TASK = ("data", "share", "starter_rows")
"""The settings that say which rows a task is tried with."""
OF_THE_DATA = ("data_dir", "number", "store", "store_timeout_s", "task")
"""The settings that say where a cart's data are and what they mean."""


def read(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[argparse.Namespace, CartSettings]:
    """Return what was typed and the settings; ``command`` of the first is a name of ``COMMANDS`` or None.

    Raises:
        SettingError: for what cannot be used.
        SystemExit: for ``--help`` and ``--version``.
    """
    if not argv or argv[0].startswith("-"):
        line = CommandLine(CartSettings, "CART", DESCRIPTION, places=PLACES)
        line.set_defaults(command=None)
    else:
        line = _of_command(argv[0])
        argv = argv[1:]
    surroundings = {} if line.get_default("command") == KEYGEN else environ
    given, settings = line.read(argv, surroundings)
    if settings.number:
        given, settings = line.read(argv, _with_defaults_of(settings.number, surroundings))
    assert isinstance(settings, CartSettings)
    return given, settings


def _with_defaults_of(number: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with a port and a folder of this cart's own; flags and variables that are set win."""
    own = {"CART_PORT": str(FIRST_PORT + number), "CART_DATA_DIR": f"data/cart-{number}"}
    return own | {name: value for name, value in environ.items() if value}


def _of_command(command: str) -> CommandLine:
    if command not in COMMANDS:
        near = get_close_matches(command, COMMANDS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise SettingError(f"There is no command {shown(command)!r}.{meant} There are {', '.join(COMMANDS)}.")
    on_data = command not in WITHOUT_DATA
    needs = " The cart must not run." if on_data else ""
    # A command line that runs a cart does with a command before it, too: what is not needed changes nothing.
    shown_settings = OF_THE_DATA if on_data else OF_A_TASK if command == CHECK_TASK else ()
    line = CommandLine(CartSettings, "CART", COMMANDS[command] + needs, shown_settings, PLACES)
    line.prog += f" {command}"
    line.set_defaults(command=command)
    if command in ("export", "import"):
        line.add_argument("folder", type=Path, metavar="DIR", help="the folder of the backup")
    if command == CHECK_TASK:
        built_in = " or ".join(BUILT_IN)
        line.add_argument("tried", metavar="MODULE:CLASS", help=f"your class, as machines:Machines; or {built_in}")
    if command == "migrate":
        stores = "embedded, or mongodb://HOST/DATABASE"
        line.add_argument("--from", dest="source", required=True, metavar="STORE", help=stores)
        line.add_argument("--to", dest="target", required=True, metavar="STORE", help=stores)
    return line
