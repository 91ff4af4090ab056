"""Feed mutants of real payloads to the codec in a process with little memory: run as a script, prints what it saw."""

import resource
import sys
from collections import Counter

import numpy as np

from child_cart.model import codec
from child_cart.model.precision import Precision, payload_of

ROOM_BYTES = 256 * 1024 * 1024
MOST_BYTES = 1024 * 1024


def mutant(payload: bytes, random: np.random.Generator) -> bytes:
    """Return the payload with a few things wrong, mostly in the part that is parsed."""
    data = bytearray(payload)
    head = min(len(data), 400)
    for _ in range(random.integers(1, 5)):
        place = int(random.integers(0, head if random.random() < 0.8 else len(data)))
        match random.integers(0, 6):
            case 0:
                data[place] ^= 1 << int(random.integers(0, 8))
            case 1:
                data[place] = int(random.integers(0, 256))
            case 2:
                del data[place : place + int(random.integers(1, 9))]
            case 3:
                data[place:place] = random.bytes(int(random.integers(1, 9)))
            case 4:
                data[place : place + 4] = b"\xff\xff\xff\x7f"
            case 5:
                del data[place:]
        if not data:
            return bytes(data)
        head = min(len(data), 400)
    return bytes(data)


def main(count: int, seed: int) -> None:
    """Decode this many mutants; anything but arrays or a CodecError ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    random = np.random.default_rng(seed)
    weights = [np.ones((2, 3), np.float32), np.zeros(3), np.array(2, np.int64), np.zeros((0, 2), np.float16)]
    payloads = [codec.encode(weights), codec.encode(weights[:1]), codec.encode([])]
    matrices = [np.linspace(-1, 1, 51, dtype=np.float32).reshape(17, 3), np.ones(3, np.float32)]
    payloads += [payload_of(matrices, precision) for precision in (Precision.INT8, Precision.INT4)]
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ROOM_BYTES, mapped + ROOM_BYTES))
    seen: Counter[str] = Counter()
    for number in range(count):
        try:
            arrays = codec.decode(mutant(payloads[number % len(payloads)], random), MOST_BYTES)
            seen["decoded"] += 1
            assert all(str(array.dtype.str) in codec.DTYPES for array in arrays)
            # Arrays that were made of codes are no views; their scales were checked.
            assert all(np.isfinite(array).all() for array in arrays if array.flags.writeable)
        except codec.CodecError:
            seen["refused"] += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - used
    print(f"{seen['decoded']} {seen['refused']} {grown}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
