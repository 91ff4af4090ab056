"""Parse and encode control messages, compared with the JSON library alone, and with msgspec where it is installed.

Prints microseconds per message (medians of interleaved runs) and the ratio to ``json.loads`` or ``json.dumps``, which
check nothing. ``pip install msgspec`` adds the row of ``msgspec.json``, which checks nothing either.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import medians_s
from cart_common.wire.messages import Cluster, Credit, Message, ModelRequest, PeerList, encode, parse

REPEATS = 3000


def an_id(size_bytes: int = 16) -> str:
    """Return random bytes in hexadecimal."""
    return os.urandom(size_bytes).hex()


def messages() -> list[tuple[str, Message]]:
    """Return messages of typical sizes, with their names."""
    ids, keys = [an_id() for _ in range(4)], [an_id(32), an_id(32), an_id(64)]
    request = ModelRequest(*ids, *keys, 131_072, 0, an_id(78), an_id(64))
    return [
        ("CREDIT", Credit(an_id(), 4_194_304)),
        ("CLUSTER", Cluster(an_id(), 3, 1)),
        ("MODELREQUEST", request),
        ("PEERLIST, 256 peers", PeerList(an_id(), an_id(), tuple(an_id() for _ in range(256)))),
    ]


def works(message: Message) -> dict[str, Callable[[], object]]:
    """Return what is measured on a message, by name."""
    text = encode(message)
    body = json.loads(text)
    ways: dict[str, Callable[[], object]] = {
        "parse, json": lambda: json.loads(text),
        "parse, ours": lambda: parse(text),
        "encode, json": lambda: json.dumps(body, separators=(",", ":")),
        "encode, ours": lambda: encode(message),
    }
    try:
        msgspec = importlib.import_module("msgspec")
    except ImportError:
        return ways
    return {**ways, "parse, msgspec.json": lambda: msgspec.json.decode(text)}


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{'message':<20} {'what':<20} {'us':>8} {'of json':>8}")
    for name, message in messages():
        medians = medians_s(works(message), REPEATS)
        for what, seconds in medians.items():
            ratio = seconds / medians[f"{what.partition(',')[0]}, json"]
            print(f"{name:<20} {what:<20} {seconds * 1e6:>8.1f} {ratio:>8.2f}")


if __name__ == "__main__":
    main()
