"""A hostile bridge: carts attach to it, and it changes what they get from each other.

Behind it an honest bridge does the bookkeeping, so that it speaks the whole protocol; a hostile one could do as much.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
from aiohttp import web


class HostileRelay:
    """What it does to chunks, of which it may make several or none, and to control messages, on their way to a cart."""

    def __init__(self, target: str) -> None:
        self.url = ""
        self.chunks: Callable[[bytes], list[bytes]] = lambda frame: [frame]
        self.message: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body
        self.changed = 0
        self._target = target

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one cart."""
        cart = web.WebSocketResponse(max_msg_size=0, compress=False)
        await cart.prepare(request)
        async with aiohttp.ClientSession() as session:
            bridge = await session.ws_connect(f"{self._target}/v1/cart", max_msg_size=0)
            ways = [asyncio.ensure_future(self._up(cart, bridge)), asyncio.ensure_future(self._down(bridge, cart))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            await bridge.close()
            await cart.close()
            await asyncio.wait(ways)
        for way in ways:
            with suppress(ConnectionError):  # one side has left in the middle of a frame
                way.result()
        return cart

    async def _up(self, cart: web.WebSocketResponse, bridge: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in cart:
            await (bridge.send_str(frame.data) if isinstance(frame.data, str) else bridge.send_bytes(frame.data))

    async def _down(self, bridge: aiohttp.ClientWebSocketResponse, cart: web.WebSocketResponse) -> None:
        async for frame in bridge:
            if isinstance(frame.data, str):
                text = json.dumps(self.message(json.loads(frame.data)))
                self.changed += json.loads(text) != json.loads(frame.data)
                await cart.send_str(text)
                continue
            made = self.chunks(frame.data)
            self.changed += made != [frame.data]
            for chunk in made:
                await cart.send_bytes(chunk)


@asynccontextmanager
async def hostile_relay(target: str) -> AsyncIterator[HostileRelay]:
    """Run such a bridge before an honest one, until the block ends."""
    relay = HostileRelay(target)
    application = web.Application()
    application.router.add_get("/v1/cart", relay.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        relay.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        yield relay
    finally:
        await runner.cleanup()
