"""A cart written from the protocol alone, without the project's own client: what the bridge does is judged by it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE_OF_MODEL = "ab" * 16


def chunk(source: str, destination: str, transfer: str, sequence: int, payload: bytes, final: bool = False) -> bytes:
    """Return a binary frame: version 1, kind 1, flags, a zero, three ids of 16 bytes, the number, payload and seal.

    The seal is 16 zeros: the bridge cannot tell.
    """
    ids = bytes.fromhex(source) + bytes.fromhex(destination) + bytes.fromhex(transfer)
    return bytes([1, 1, int(final), 0]) + ids + struct.pack("!I", sequence) + payload + bytes(16)


class RawCart:
    """One WebSocket to a bridge and a key pair."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, key: Ed25519PrivateKey | None = None) -> None:
        self.socket = socket
        self.key = key or Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(self.public).digest()[:16].hex()
        self.welcome: dict[str, Any] = {}

    async def say(self, kind: str, **body: Any) -> None:
        await self.socket.send_str(json.dumps({"type": kind, **body}))

    async def hear(self, kind: str | None = None, timeout_s: float = 20.0) -> dict[str, Any]:
        """Return the next control message, which must be of this kind."""
        frame = await self.socket.receive(timeout=timeout_s)
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        body: dict[str, Any] = json.loads(frame.data)
        assert kind is None or body["type"] == kind, body
        return body

    async def hear_bytes(self, timeout_s: float = 20.0) -> bytes:
        frame = await self.socket.receive(timeout=timeout_s)
        assert frame.type is aiohttp.WSMsgType.BINARY, frame
        data: bytes = frame.data
        return data

    async def hear_end(self, timeout_s: float = 20.0) -> dict[str, Any] | None:
        """Take frames until the bridge closes; return the last ERROR."""
        error = None
        async with asyncio.timeout(timeout_s):
            async for frame in self.socket:
                if frame.type is aiohttp.WSMsgType.TEXT and json.loads(frame.data)["type"] == "ERROR":
                    error = json.loads(frame.data)
        return error

    def attach_body(self, **other: Any) -> dict[str, Any]:
        statement = b"cart-attach-v1\0" + bytes.fromhex(self.welcome["nonce"] + self.welcome["bridge_id"])
        body = {
            "version": 1,
            "public_key": self.public.hex(),
            "signature": self.key.sign(statement).hex(),
            "role": "SHELL",
            "model_signature": SIGNATURE_OF_MODEL,
            "model_version": 1,
            "proof": "00" * 32,
        }
        return body | other

    async def attach(self, **other: Any) -> None:
        await self.say("ATTACH", **self.attach_body(**other))
        assert (await self.hear("ATTACHED"))["cart_id"] == self.id

    def abort(self) -> None:
        """Die without a word."""
        transport = self.socket._response.connection.transport
        transport.abort()

    async def stop_reading(self) -> None:
        """Leave what comes in the kernel's buffers from now on; pings are not answered either."""
        self.socket._response.connection.transport.pause_reading()


@asynccontextmanager
async def greeted(url: str, key: Ed25519PrivateKey | None = None, **options: Any) -> AsyncIterator[RawCart]:
    """Connect and take WELCOME."""
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{url}/v1/cart", compress=0, max_msg_size=0, **options)
        cart = RawCart(socket, key)
        cart.welcome = await cart.hear("WELCOME")
        try:
            yield cart
        finally:
            transport = socket._response.connection.transport if socket._response.connection else None
            if transport is not None:
                transport.resume_reading()
            async with asyncio.timeout(20):
                await socket.close()


@asynccontextmanager
async def attached(url: str, key: Ed25519PrivateKey | None = None, **other: Any) -> AsyncIterator[RawCart]:
    """Connect and attach."""
    async with greeted(url, key) as cart:
        await cart.attach(**other)
        yield cart


class OpenTransfer:
    """A transfer between two raw carts, granted up to ``granted`` bytes."""

    def __init__(self, sender: RawCart, receiver: RawCart, transfer: str, payload: bytes, chunk_bytes: int) -> None:
        self.sender, self.receiver, self.id = sender, receiver, transfer
        self.payload, self.chunk_bytes = payload, chunk_bytes

    def frame(self, sequence: int) -> bytes:
        start = sequence * self.chunk_bytes
        part = self.payload[start : start + self.chunk_bytes]
        final = start + self.chunk_bytes >= len(self.payload)
        return chunk(self.sender.id, self.receiver.id, self.id, sequence, part, final)

    async def grant(self, up_to_bytes: int) -> None:
        await self.receiver.say("CREDIT", transfer=self.id, up_to_bytes=up_to_bytes)
        assert (await self.sender.hear("CREDIT"))["up_to_bytes"] == up_to_bytes


async def ask_cluster(kernel: RawCart, size: int, minimum: int = 1) -> dict[str, Any]:
    """Return the bridge's answer to CLUSTER."""
    request = os.urandom(16).hex()
    await kernel.say("CLUSTER", request=request, size=size, minimum=minimum)
    answer = await kernel.hear()
    assert answer["request"] == request
    return answer


async def open_transfer(
    kernel: RawCart, shell: RawCart, payload: bytes, chunk_bytes: int = 1024, granted: int = 0
) -> OpenTransfer:
    """Let ``kernel`` (attached as KERNEL) ask ``shell`` for its model, take the offer and grant credit."""
    answer = await ask_cluster(kernel, 16)
    assert shell.id in answer["peers"]
    transfer = os.urandom(16).hex()
    request = {"transfer": transfer, "cluster": answer["cluster"], "source": kernel.id, "destination": shell.id}
    request |= {"key": "11" * 32, "public_key": "22" * 32, "signature": "33" * 64, "max_chunk_bytes": 65536}
    request |= {"key_epoch": 0, "terms": "44" * 40, "terms_signature": "55" * 64}
    await kernel.say("MODELREQUEST", **request)
    assert await shell.hear("MODELREQUEST") == {"type": "MODELREQUEST", **request}
    offer = {
        "transfer": transfer,
        "source": shell.id,
        "destination": kernel.id,
        "total_bytes": len(payload),
        "chunk_bytes": chunk_bytes,
        "chunks": -(-len(payload) // chunk_bytes),
        "digest": blake3(payload).hexdigest(),
        "codec": "raw",
        "model_signature": SIGNATURE_OF_MODEL,
        "model_version": 1,
        "samples": 100,
        "accuracy": 0.75,
        "cipher": "none",
        "key": "11" * 32,
        "public_key": "22" * 32,
        "signature": "33" * 64,
    }
    await shell.say("MODELPARAMETERS", **offer)
    assert await kernel.hear("MODELPARAMETERS") == {"type": "MODELPARAMETERS", **offer}
    opened = OpenTransfer(shell, kernel, transfer, payload, chunk_bytes)
    if granted:
        await opened.grant(granted)
    return opened
