"""Run a program in the first data folder that no other replica holds: ``python -m containers.slot cart``.

Replicas of a service get the same volumes and the same environment, and a container that replaces another one knows
nothing of it. So all carts share one volume with slots: folders named 1, 2, 3 and so on. A cart locks the lowest slot
that is free. The kernel releases the lock when its holder ends, for whatever reason, and the next cart goes on with
what is in the slot: key, weights, database. With fewer carts the upper slots stay as they are; with more carts they are
used again. The same holds for bridges.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import IO, Final

from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError, load, option

HOLDER: Final = "slot"
"""The file in a slot that is locked; it holds the name of the host (the container) that has the slot."""
PROGRAMS: Final = {"bridge": "parent_cart.main", "cart": "child_cart.main"}


@dataclass(frozen=True)
class SlotSettings:
    """Where the slots are; in the environment the settings are named ``SLOT_…``."""

    folder: str = option("/data", "folder with the slots of all replicas; the data folder of each lies there")
    number: int = option(0, "the slot to take; 0 takes the lowest one that is free", minimum=0, maximum=10_000)
    shares: int = option(
        0,
        "number of partitions of the starter data, one for each slot; after the last one the first follows. 0 leaves "
        "this to CART_SHARE",
        minimum=0,
        maximum=10_000,
    )


def claim(folder: Path, wanted: int, host: str) -> tuple[int, IO[str]]:
    """Lock a slot; return its number and its locked file, whose closing releases the slot.

    Args:
        folder: holds the slots.
        wanted: the slot's number; 0 for the lowest one that is free.
        host: the name of this replica on the network.

    Raises:
        SettingError: if the folder cannot be used, or another replica holds the wanted slot.
    """
    for number in [wanted] if wanted else count(1):
        slot = folder / str(number)
        try:
            slot.mkdir(mode=0o700, exist_ok=True)
            holder = open(slot / HOLDER, "a")  # noqa: SIM115 - held as long as the program runs
        except OSError as error:
            raise SettingError(f"The slot {slot} cannot be used: {error_words(error)}.") from None
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder.close()
            continue
        holder.truncate(0)
        print(host, file=holder, flush=True)
        return number, holder
    raise SettingError(
        f"SLOT_NUMBER is {wanted}, but {folder / str(wanted)} is held by a replica that runs. Stop that one first."
    )


def environment_of(number: int, host: str, shares: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return a program's settings for one slot, with its number for ``<slot>`` and the host's name for ``<host>``.

    Args:
        number: of the slot.
        host: the name of this replica.
        shares: into how many parts the starter data is split; 0 to leave CART_SHARE alone.
        environ: the environment of all replicas.
    """
    changed = {
        name: value.replace("<slot>", str(number)).replace("<host>", host)
        for name, value in environ.items()
        if name.startswith(("BRIDGE_", "CART_"))
    }
    if shares and not environ.get("CART_SHARE"):
        changed["CART_SHARE"] = f"{(number - 1) % shares + 1}/{shares}"
    return changed


def main(argv: Sequence[str]) -> int:
    """Run a program, or one of its commands, in a slot; return the process's exit status."""
    if not argv or argv[0] not in PROGRAMS:
        print(f"usage: python -m containers.slot {'|'.join(PROGRAMS)} ARGUMENTS...", file=sys.stderr)
        return 2
    host = socket.gethostname()
    try:
        settings = load(SlotSettings, "SLOT", [], os.environ, "")
        number, holder = claim(Path(settings.folder), settings.number, host)
    except SettingError as error:
        print(f"slot: {error}", file=sys.stderr)
        return 2
    with holder:
        print(f"This {argv[0]} has slot {number}.", flush=True)
        os.environ.update(environment_of(number, host, settings.shares, os.environ))
        program: Callable[[Sequence[str]], int] = import_module(PROGRAMS[argv[0]]).main
        return program(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
