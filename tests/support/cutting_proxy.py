"""A TCP proxy that cuts connections at random points: with a reset, or by letting everything vanish without a word."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

READ_BYTES = 16 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for no time at all


class CuttingProxy:
    """Stands before one port. Cuts nothing until ``cuts_left`` is set.

    Args:
        target_port: where the connections go, on the loopback.
        most_bytes: a connection is cut after a random number of bytes up to this, counted in both directions together.
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
        self._bytes_left = cut_after_bytes
        self._vanishing = False

    async def run(self) -> None:
        ways = (self._pump(self._here[0], self._there[1]), self._pump(self._there[0], self._here[1]))
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            # A side that ends takes the other one along, but not through a hole: there, nobody hears of the other.
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
                if self._proxy.cuts_left > 0:
                    passed, self._bytes_left = data[: self._bytes_left], self._bytes_left - len(data)
                    if self._bytes_left <= 0:
                        writer.write(passed)
                        if self._proxy.next_cut_is_silent():
                            self._vanishing = True
                            continue
                        self._reset()
                        return
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
    carrying: set[asyncio.Task[None]] = set()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(proxy.carry(reader, writer))
        carrying.add(task)
        task.add_done_callback(carrying.discard)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        await server.wait_closed()
