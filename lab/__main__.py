"""``python -m lab`` and ``federated-carts lab``."""

from __future__ import annotations

import sys

from .commands.command_line import main


def federated_carts() -> int:
    """Run the command ``federated-carts``, whose first word is ``lab``."""
    if sys.argv[1:2] != ["lab"]:
        print("usage: federated-carts lab COMMAND ...    (federated-carts lab --help)", file=sys.stderr)
        return 2
    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
