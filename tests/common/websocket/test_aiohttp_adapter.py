"""The parts of aiohttp that are used beyond its documented interface: an upgrade that moves one is named here."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from cart_common.websocket.aiohttp_adapter import open_transports, switch_protocol, websocket_mask

ROOT = Path(__file__).parents[3]
USED = [
    # where it is, its name, its first arguments (None: it is no function), what uses it
    ("aiohttp._websocket.helpers", "websocket_mask", ["mask", "data"], "cart_common/websocket/frames.py masks with it"),
    ("aiohttp.http_exceptions", "HttpProcessingError", None, "a bridge keeps hostile requests out of its log by it"),
    ("aiohttp.web:BaseRequest", "protocol", None, "a bridge takes connections over by it"),
    ("aiohttp.web:BaseRequest", "transport", None, "a bridge takes connections over by it"),
    ("aiohttp.web_protocol:RequestHandler", "transport", None, "it is taken away before aiohttp would close it"),
    ("aiohttp.web_protocol:RequestHandler", "connection_lost", ["self", "exc"], "it makes aiohttp forget a connection"),
    ("aiohttp.web:Server", "connections", None, "a bridge breaks HTTP connections that stay too long by it"),
    (
        *("aiohttp.web:BaseRequest", "__init__"),
        ["self", "message", "payload", "protocol", "payload_writer", "task", "loop", "client_max_size"],
        "child_cart/api/serving/page_server.py makes requests of its own with it",
    ),
    (
        *("aiohttp.web:RequestHandler", "log_exception", ["self", "args", "kw"]),
        "child_cart/api/serving/page_server.py keeps what any client can cause out of the log by it",
    ),
    ("aiohttp.web:AppRunner", "server", None, "a bridge breaks HTTP connections that stay too long by it"),
]


@pytest.mark.parametrize(("place", "name", "arguments", "use"), USED, ids=[f"{used[0]}.{used[1]}" for used in USED])
def test_aiohttp_has_what_is_used(place: str, name: str, arguments: list[str] | None, use: str) -> None:
    module, _, owner = place.partition(":")
    sentence = f"aiohttp {aiohttp.__version__} has no {place}.{name} as before: {use}."
    try:
        holder = importlib.import_module(module)
        part = getattr(getattr(holder, owner) if owner else holder, name)
    except (ImportError, AttributeError):
        pytest.fail(sentence)
    if arguments is not None:
        assert list(inspect.signature(part).parameters)[: len(arguments)] == arguments, sentence


@pytest.mark.parametrize("size", [*range(10), 1000, 65_537])
def test_masking_turns_the_payload_in_its_own_buffer(size: int) -> None:
    plain, mask = os.urandom(size), os.urandom(4)
    payload = bytearray(plain)
    websocket_mask(mask, payload)
    changed = f"aiohttp {aiohttp.__version__} does not mask as RFC 6455, 5.3 says, in place"
    assert payload == bytes(byte ^ mask[at % 4] for at, byte in enumerate(plain)), changed


def test_frames_are_the_same_without_the_extension_in_c() -> None:
    script = """
from aiohttp._websocket.helpers import _websocket_mask_python, websocket_mask
from cart_common.websocket.frames import BINARY, FrameReader, client_frame
assert websocket_mask is _websocket_mask_python
payload = bytes(range(256)) * 300
frame = client_frame(BINARY, payload)
reader = FrameReader(len(payload))
reader.buffer()[: len(frame)] = frame
(read,) = reader.received(len(frame))
assert read.payload == payload and payload[:64] not in frame
"""
    environment = os.environ | {"AIOHTTP_NO_EXTENSIONS": "1"}
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def test_a_connection_that_was_handed_over_stays_open_and_aiohttp_knows_it_no_longer() -> None:
    counts = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        transport, earlier = request.transport, request.protocol
        counts.append(len(open_transports(server)))
        answer = web.StreamResponse(status=101, headers={"Upgrade": "echo", "Connection": "Upgrade"})
        await answer.prepare(request)
        switch_protocol(transport, earlier, Echo())
        counts.append(len(open_transports(server)))
        return answer

    server = web.Server(handle)
    runner = web.ServerRunner(server)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        for words in (b"first", b"second"):
            writer.write(words)
            assert await reader.readexactly(len(words)) == words
        writer.close()
    finally:
        await runner.cleanup()
    assert counts == [1, 0]
