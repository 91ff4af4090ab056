"""Wires of a mobile network as a process: each is two TUN devices, joined with a delay, losses and a limited rate.

Stands in for veth and netem where the kernel has no netem. Run as a script with its wires as JSON; says ``ready`` when
the devices are there and ends, taking them with it, when its standard input does.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import selectors
import struct
import sys
import time
from collections import deque
from contextlib import suppress

MAX_WAITING_PACKETS = 1000
MAX_PACKET_BYTES = 65536
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def open_tun(name: str) -> int:
    """Make a TUN device and return its file; the device lives as long, also when it is moved to another namespace."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


class Lane:
    """One direction of a wire."""

    def __init__(self, source: int, target: int, delay_s: float, loss: float, bytes_per_s: float, seed: int) -> None:
        self.source = source
        self._target = target
        self._delay_s = delay_s
        self._loss = loss
        self._bytes_per_s = bytes_per_s
        self._random = random.Random(seed)
        self._free_at = 0.0
        self._waiting: deque[tuple[float, bytes]] = deque()

    def take(self, now: float) -> None:
        """Take all packets that are there."""
        with suppress(BlockingIOError):
            while True:
                packet = os.read(self.source, MAX_PACKET_BYTES)
                if self._random.random() < self._loss or len(self._waiting) >= MAX_WAITING_PACKETS:
                    continue
                self._free_at = max(self._free_at, now) + len(packet) / self._bytes_per_s
                self._waiting.append((self._free_at + self._delay_s, packet))

    def give(self, now: float) -> float | None:
        """Hand over the packets that are due; return when the next one is."""
        while self._waiting and self._waiting[0][0] <= now:
            _, packet = self._waiting.popleft()
            with suppress(OSError):  # the device at the other end is down
                os.write(self._target, packet)
        return self._waiting[0][0] if self._waiting else None


def main(wires: list[tuple[str, str]], delay_s: float, loss: float, bytes_per_s: float, seed: int) -> None:
    """Carry packets until standard input ends."""
    lanes = []
    for number, (one_name, other_name) in enumerate(wires):
        one, other = open_tun(one_name), open_tun(other_name)
        lanes.append(Lane(one, other, delay_s, loss, bytes_per_s, seed + 2 * number))
        lanes.append(Lane(other, one, delay_s, loss, bytes_per_s, seed + 2 * number + 1))
    print("ready", flush=True)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    for lane in lanes:
        selector.register(lane.source, selectors.EVENT_READ, lane)
    while True:
        due = [at for lane in lanes if (at := lane.give(time.monotonic())) is not None]
        wait_s = max(min(due) - time.monotonic(), 0.0) if due else None
        for key, _ in selector.select(wait_s):
            if key.data is None:
                return
            key.data.take(time.monotonic())


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
