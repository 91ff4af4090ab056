"""A TCP proxy that cuts connections at random points: with a reset, or by letting everything vanish without a word."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from .loopback_server import loopback_server

READ_BYTES = 16 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for no time at all


class CuttingProxy:
    """Stands before one port. Cuts nothing until ``cuts_left`` is set, or ``spread`` is called.

    Args:
        target_port: where the connections go, on the loopback.
        most_bytes: a connection is cut after a random number of bytes up to this, counted in both directions together;
            or, after ``spread``, whenever a place is reached.
        silent_share: how many of the cuts are silent: the connection stays, and nothing comes through any more.
        seed: of the randomness.
    """

    def __init__(self, target_port: int, most_bytes: int, silent_share: float, seed: int) -> None:
        self._target_port = target_port
        self._most_bytes = most_bytes
        self._silent_share = silent_share
        self._random = random.Random(seed)
        self.port = 0
        self.cuts_left = 0
        self.resets = 0
        self.silences = 0
        self.connections = 0
        self._places: deque[int] = deque()
        self._reached: Callable[[], int] = lambda: 0

    def spread(self, cuts: int, total_bytes: int, reached: Callable[[], int]) -> None:
        """Make ``cuts`` cuts at random places of a transfer whose progress ``reached`` returns."""
        self._places = deque(sorted(self._random.sample(range(total_bytes), cuts)))
        self._reached, self.cuts_left = reached, cuts

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def cuts(self) -> int:
        """How many connections it has cut."""
        return self.resets + self.silences

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:  # as a router whose other side is away
            writer.transport.abort()
            return
        await _Connection(self, (reader, writer), there, self._random.randint(1, self._most_bytes)).run()

    def cuts_after(self, carried_bytes: int, cut_after_bytes: int, data: bytes) -> int | None:
        """Return how many bytes of this are the last ones of their connection, or None if it goes on."""
        if self.cuts_left <= 0:
            return None
        if self._places:
            if self._reached() < self._places[0]:
                return None
            self._places.popleft()
            return self._random.randrange(len(data))
        left = cut_after_bytes - carried_bytes
        return left if left <= len(data) else None

    def next_cut_is_silent(self) -> bool:
        """Count a cut and choose its kind."""
        self.cuts_left -= 1
        silent = self._random.random() < self._silent_share
        if silent:
            self.silences += 1
        else:
            self.resets += 1
        return silent


Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """One connection and its continuation to the target."""

    def __init__(self, proxy: CuttingProxy, here: Side, there: Side, cut_after_bytes: int) -> None:
        self._proxy = proxy
        self._here = here
        self._there = there
        self._cut_after_bytes = cut_after_bytes
        self._carried_bytes = 0
        self._vanishing = False

    async def run(self) -> None:
        ways = (self._pump(self._here[0], self._there[1]), self._pump(self._there[0], self._here[1]))
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            # When one side ends, so does the other; but not after a silent cut, through which no end is seen.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._vanishing:
                await asyncio.wait(tasks)
        finally:
            for _, writer in (self._here, self._there):
                writer.transport.abort()  # before anything is awaited, which might be cancelled
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                if self._vanishing:
                    continue
                last = self._proxy.cuts_after(self._carried_bytes, self._cut_after_bytes, data)
                if last is not None:
                    writer.write(data[:last])
                    if self._proxy.next_cut_is_silent():
                        self._vanishing = True
                        continue
                    self._reset()
                    return
                if self._proxy.cuts_left > 0:
                    self._carried_bytes += len(data)
                writer.write(data)
                await writer.drain()

    def _reset(self) -> None:
        for _, writer in (self._here, self._there):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


@asynccontextmanager
async def cutting_proxy(
    target_port: int, most_bytes: int, silent_share: float = 0.2, seed: int = 1
) -> AsyncIterator[CuttingProxy]:
    """Run a proxy on a free port until the block ends, and all of its connections with it."""
    proxy = CuttingProxy(target_port, most_bytes, silent_share, seed)
    async with loopback_server(proxy.carry) as proxy.port:
        yield proxy
