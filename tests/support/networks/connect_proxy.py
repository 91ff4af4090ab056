"""A forward proxy as companies have them: it alone knows where a name leads, and it can ask for a password."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from .loopback_server import loopback_server

READ_BYTES = 64 * 1024


class ConnectProxy:
    """Opens connections with CONNECT, and passes requests for http:// on.

    Args:
        hosts: the ports on the loopback to which names lead.
        password: the ``user:password`` that it asks for; empty for none.
        answer: what it says to every CONNECT instead of connecting.

    Attributes:
        asked: the first line of each request.
    """

    def __init__(self, hosts: dict[str, int], password: str = "", answer: bytes = b"") -> None:
        self._hosts = hosts
        self._password = password
        self._answer = answer
        self.asked: list[str] = []
        self.port = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._carry(reader, writer)
        finally:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.partition("\r\n")[0])
        method, target, _ = self.asked[-1].split(" ")
        proof = base64.b64encode(self._password.encode()).decode()
        if self._password and f"Proxy-Authorization: Basic {proof}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        elif self._answer:
            writer.write(self._answer)
        else:
            host = target.removeprefix("http://").partition("/")[0].rpartition(":")[0]
            there = await asyncio.open_connection("127.0.0.1", self._hosts[host])
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
            else:
                path = target.removeprefix("http://").partition("/")[2]
                there[1].write(head.replace(target, f"/{path}", 1).encode())
            await _both_ways((reader, writer), there)
            return
        writer.write_eof()
        await writer.drain()
        await reader.read()


Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _both_ways(here: Side, there: Side) -> None:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()

    ways = [asyncio.ensure_future(pump(here[0], there[1])), asyncio.ensure_future(pump(there[0], here[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        there[1].transport.abort()
        here[1].transport.abort()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


@asynccontextmanager
async def connect_proxy(hosts: dict[str, int], password: str = "", answer: bytes = b"") -> AsyncIterator[ConnectProxy]:
    """Run a proxy on a free port until the block ends, and all of its connections with it."""
    proxy = ConnectProxy(hosts, password, answer)
    async with loopback_server(proxy.carry) as proxy.port:
        yield proxy
