"""The baseline for the bridge: a plain asyncio TCP relay, and a raw-socket load for it.

python benchmarks/plain_relay.py PORT [ADDRESS]
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time


class PlainRelay(asyncio.Protocol):
    """A connection whose data goes to the other one of its pair, in both directions, without framing and checks."""

    waiting: PlainRelay | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pair this connection with the one that waits, or wait."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.other: PlainRelay | None = PlainRelay.waiting
        if self.other is None:
            PlainRelay.waiting = self
        else:
            self.other.other, PlainRelay.waiting = self, None

    def data_received(self, data: bytes) -> None:
        """Pass the data on."""
        if self.other is not None:
            self.other.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """Close the other connection as well."""
        if self.other is not None:
            self.other.transport.abort()

    def pause_writing(self) -> None:
        """Stop reading from the sender of a slow receiver."""
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read from the sender again."""
        if self.other is not None:
            self.other.transport.resume_reading()


async def serve_plain(port: int, host: str = "127.0.0.1") -> None:
    """Run the plain relay."""
    server = await asyncio.get_running_loop().create_server(PlainRelay, host, port)
    await server.serve_forever()


class PlainStream:
    """The load of ``raw_cart.Stream`` for the plain relay."""

    def __init__(self, port: int, chunk_bytes: int, total_bytes: int, _: int) -> None:
        self.chunk_bytes, self.total_bytes = chunk_bytes, total_bytes
        self.taker = socket.create_connection(("127.0.0.1", port))
        time.sleep(0.02)
        self.giver = socket.create_connection(("127.0.0.1", port))

    def give(self) -> None:
        """Send everything."""
        frame = bytes(self.chunk_bytes)
        for _ in range(self.total_bytes // self.chunk_bytes):
            self.giver.sendall(frame)

    def take(self) -> None:
        """Receive everything."""
        buffer, received = bytearray(1 << 20), 0
        while received < self.total_bytes:
            received += self.taker.recv_into(buffer)

    def close(self) -> None:
        """Close both ends."""
        self.taker.close()
        self.giver.close()


def main() -> None:
    """Run the relay at the port and address of the command line."""
    asyncio.run(serve_plain(int(sys.argv[1]), *sys.argv[2:]))


if __name__ == "__main__":
    main()
