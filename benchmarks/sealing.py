"""Seal and open one chunk, compared with the other costs of a chunk: hashing and copying it.

Prints microseconds per chunk (medians of interleaved runs) and the ratio to a memory copy.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import medians_s
from cart_common.wire.chunk import HEADER_BYTES, ChunkHeader
from child_cart.transfers.sealing import CIPHERS, Seal

SIZES = (16 * 1024, 64 * 1024, 256 * 1024)
REPEATS = 200
HEADER = ChunkHeader(b"s" * 16, b"d" * 16, b"t" * 16, 1, False)


def candidates(size: int) -> dict[str, Callable[[], object]]:
    """Return the operations to measure on a chunk of this size, by name."""
    payload = memoryview(os.urandom(size))
    works: dict[str, Callable[[], object]] = {"copy": lambda: bytes(payload)}
    for cipher in CIPHERS:
        seal = Seal(cipher, bytes(32), size)
        sealed = memoryview(seal.frame(HEADER, payload))[HEADER_BYTES:]
        works[f"seal, {cipher}"] = lambda seal=seal: seal.frame(HEADER, payload)
        works[f"open, {cipher}"] = lambda seal=seal, sealed=sealed: seal.open(HEADER, sealed)
    works["digest, SHA-256"] = lambda: hashlib.sha256(payload).digest()
    works["digest, BLAKE3"] = lambda: blake3(payload).digest()
    return works


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{'chunk':>8} {'what':<26} {'us':>9} {'GB/s':>7} {'of a copy':>10}")
    for size in SIZES:
        medians = medians_s(candidates(size), REPEATS)
        for name, seconds in medians.items():
            ratio = medians["copy"] / seconds
            print(f"{size // 1024:>5} KiB {name:<26} {seconds * 1e6:>9.1f} {size / seconds / 1e9:>7.2f} {ratio:>10.3f}")


if __name__ == "__main__":
    main()
