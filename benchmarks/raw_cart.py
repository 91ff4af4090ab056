"""Carts on raw sockets that use almost no CPU, so that a benchmark measures the relay and not its load.

They speak WebSocket (RFC 6455) and parse only what they need.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
import socket
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cart_common.wire.chunk import ChunkHeader, pack_header
from cart_common.wire.fleet_key import OPEN, admission_proof, bridge_token
from cart_common.wire.identity import Identity, attach_statement

MODEL: Final = "ab" * 16
SEAL: Final = bytes(16)
CREDIT: Final = re.compile(rb'"type":"CREDIT"[^}]*"up_to_bytes":(\d+)')
UNSIGNED: Final = {"key": "11" * 32, "public_key": "22" * 32, "signature": "33" * 64}


def client_frame(opcode: int, payload: bytes, mask: bytes = bytes(4)) -> bytes:
    """Return a masked WebSocket frame; a mask of zeros leaves the payload unchanged."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    if any(mask):
        pattern = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        payload = (int.from_bytes(payload, "big") ^ pattern).to_bytes(size, "big")
    return head + mask + payload


class RawCart:
    """One attached cart."""

    def __init__(self, port: int, role: str, receive_buffer_bytes: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes:  # before connecting: later the kernel has already advertised a larger window
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket)
        self._unread = bytearray()
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/cart HTTP/1.1\r\nHost: bridge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._unread:
            self._read()
        del self._unread[: self._unread.index(b"\r\n\r\n") + 4]
        identity = Identity.generate()
        self.id = identity.cart_id.hex()
        welcome = self.hear()
        statement = attach_statement(bytes.fromhex(welcome["nonce"]), bytes.fromhex(welcome["bridge_id"]))
        self.say(
            "ATTACH",
            version=1,
            public_key=identity.public_key.hex(),
            signature=identity.sign(statement).hex(),
            role=role,
            model_signature=MODEL,
            model_version=1,
            proof=admission_proof(bridge_token(OPEN), statement + identity.public_key).hex(),
        )
        assert self.hear()["type"] == "ATTACHED"

    def say(self, kind: str, **body: Any) -> None:
        """Send a control message."""
        self.socket.sendall(client_frame(1, json.dumps({"type": kind, **body}).encode()))

    def hear(self) -> dict[str, Any]:
        """Return the next control message."""
        while True:
            opcode, payload = self._next_frame()
            if opcode == 9:
                self.socket.sendall(client_frame(10, payload))
            else:
                message: dict[str, Any] = json.loads(payload)
                return message

    def _next_frame(self) -> tuple[int, bytes]:
        while True:
            data = self._unread
            if len(data) >= 2:
                size, start = data[1], 2
                if size == 126 and len(data) >= 4:
                    size, start = struct.unpack_from("!H", data, 2)[0], 4
                elif size >= 126:
                    size = -1
                if 0 <= size <= len(data) - start:
                    opcode, payload = data[0] & 15, bytes(data[start : start + size])
                    del data[: start + size]
                    return opcode, payload
            self._read()

    def _read(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the bridge closed the link")
        self._unread += data


class Stream:
    """A transfer between two raw carts, opened up to the first credit; between those of another one if it is given."""

    def __init__(
        self,
        port: int,
        chunk_bytes: int,
        total_bytes: int,
        window_bytes: int,
        receive_buffer_bytes: int = 0,
        beside: Stream | None = None,
    ) -> None:
        self.chunk_bytes, self.total_bytes, self.window_bytes = chunk_bytes, total_bytes, window_bytes
        self.taker = beside.taker if beside else RawCart(port, "KERNEL", receive_buffer_bytes)
        self.giver = beside.giver if beside else RawCart(port, "SHELL")
        self.cluster: str = beside.cluster if beside else self._ask_cluster()
        self.id = os.urandom(16).hex()
        self.taker.say(
            "MODELREQUEST",
            transfer=self.id,
            cluster=self.cluster,
            source=self.taker.id,
            destination=self.giver.id,
            max_chunk_bytes=chunk_bytes,
            **UNSIGNED,
        )
        assert self.giver.hear()["type"] == "MODELREQUEST"
        self.giver.say(
            "MODELPARAMETERS",
            transfer=self.id,
            source=self.giver.id,
            destination=self.taker.id,
            total_bytes=total_bytes,
            chunk_bytes=chunk_bytes,
            chunks=-(-total_bytes // chunk_bytes),
            digest="44" * 32,
            codec="raw",
            model_signature=MODEL,
            model_version=1,
            samples=1,
            accuracy=0.5,
            cipher="none",
            **UNSIGNED,
        )
        assert self.taker.hear()["type"] == "MODELPARAMETERS"

    def _ask_cluster(self) -> str:
        self.taker.say("CLUSTER", request="01" * 16, size=256, minimum=1)
        answer = self.taker.hear()
        assert self.giver.id in answer["peers"], answer
        cluster: str = answer["cluster"]
        return cluster

    def frame(self) -> bytes:
        """Return the frame of each chunk: the same, as the bridge counts bytes and not sequence numbers."""
        header = ChunkHeader(
            bytes.fromhex(self.giver.id), bytes.fromhex(self.taker.id), bytes.fromhex(self.id), 0, False
        )
        # Under a mask that the bridge must remove each time.
        return client_frame(2, pack_header(header) + bytes(self.chunk_bytes) + SEAL, b"\x5a\xc3\x0f\x96")

    def give(self) -> None:
        """Send all chunks within the credit."""
        frame = self.frame()
        socket_, sent, credit = self.giver.socket, 0, 0
        while sent < self.total_bytes:
            while sent + self.chunk_bytes > credit:
                for found in CREDIT.finditer(socket_.recv(65536)):
                    credit = int(found[1])
            socket_.sendall(frame)
            sent += self.chunk_bytes

    def take(self, bytes_per_s: float = math.inf) -> None:
        """Receive everything, no faster than this, and grant credit after each half window."""
        per_chunk = self.chunk_bytes + 56 + 16 + (10 if self.chunk_bytes + 72 > 65535 else 4)
        chunks = self.total_bytes // self.chunk_bytes
        granted = received = 0
        buffer = bytearray(1 << 20 if math.isinf(bytes_per_s) else 1 << 14)
        while True:
            done = received // per_chunk * self.chunk_bytes
            if granted < self.total_bytes and granted - done <= self.window_bytes // 2:
                granted = min(done + self.window_bytes, self.total_bytes)
                self.taker.say("CREDIT", transfer=self.id, up_to_bytes=granted)
            if received >= chunks * per_chunk:
                return
            came = self.taker.socket.recv_into(buffer)
            if not came:
                raise ConnectionError("the bridge closed the link of a receiver")
            received += came
            time.sleep(came / bytes_per_s)

    def close(self) -> None:
        """Leave the bridge."""
        self.taker.socket.close()
        self.giver.socket.close()
