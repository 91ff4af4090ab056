"""Start a bridge, a cart or the laboratory: ``python main.py parent``, ``child`` or ``lab``, then its own words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from cart_common.process.redaction import shown

PROGRAMS: Final = {
    "parent": "the bridge that carts attach to",
    "child": "a cart, which sells and learns",
    "lab": "experiments with a thousand simulated carts",
}
HELP: Final = f"""\
usage: python main.py PROGRAM [flags]

Programs:
{chr(10).join(f"  {name:8}{what}" for name, what in PROGRAMS.items())}

To try it on one machine, each line in a terminal of its own:
  python main.py parent
  python main.py child --number 1      pages at http://127.0.0.1:5001/, data in data/cart-1
  python main.py child --number 2      pages at http://127.0.0.1:5002/, data in data/cart-2

The flags of a program: python main.py parent --help, python main.py child --help, python main.py lab --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program that the first word names; return the process's exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if not words or words[0] not in PROGRAMS:
        print(f"main.py: {_complaint(words)}", file=sys.stderr)
        return 2
    # From here the program reads its flags, and argparse the name that --help shows.
    sys.argv = [f"{sys.argv[0]} {words[0]}", *words[1:]]
    if words[0] == "parent":
        from parent_cart.__main__ import start  # noqa: PLC0415 - a bridge's host has nothing of what a cart needs
    elif words[0] == "lab":
        from lab.commands.command_line import main as start  # noqa: PLC0415 - nor has a cart's host what experiments need
    else:
        from child_cart.__main__ import start  # noqa: PLC0415 - and the other way round
    return start()


def _complaint(words: Sequence[str]) -> str:
    there_are = (
        "The first word is the program: parent (a bridge), child (a cart) or lab (experiments), "
        "as in: python main.py parent."
    )
    if not words:
        return f"No program is named. {there_are} See --help."
    near = get_close_matches(words[0], PROGRAMS, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"There is no program {shown(words[0])!r}.{meant} {there_are} See --help."


if __name__ == "__main__":
    sys.exit(main())
