"""A real bridge inside the test's own event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from cart_common.process.tasks import background
from cart_common.wire.identity import Identity
from parent_cart.bridge.hub import Hub
from parent_cart.config import BridgeSettings
from parent_cart.main import build
from parent_cart.relay.relay import Relay

from .shared_directory import SharedDirectory, SharedDirectoryView


@dataclass
class Bridge:
    """A running bridge and the parts that tests look into."""

    port: int
    relay: Relay
    hub: Hub
    runner: web.AppRunner
    directory: SharedDirectoryView | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def running_bridge(
    port: int = 0,
    folder: Path | None = None,
    shared_directory: SharedDirectory | None = None,
    tls: ssl.SSLContext | None = None,
    **settings: Any,
) -> AsyncIterator[Bridge]:
    """Run a bridge as ``serve`` does, without signals; it tells its carts when the block ends.

    Bridges with one ``shared_directory`` know each other, and need a ``folder`` each.
    """
    built = build(BridgeSettings(**settings), folder)
    directory = None
    if shared_directory is not None:
        assert folder is not None
        directory = SharedDirectoryView(shared_directory, Identity.load_or_create(folder / "key.pem"))
        built.neighbourhood._directory = directory
    runner = web.AppRunner(built.application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        built.relay.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        if directory is not None:
            await directory.start(built.relay.url, built.load)
        async with background(built.relay.sweep()):
            yield Bridge(runner.addresses[0][1], built.relay, built.hub, runner, directory)
        await built.relay.close()
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until a condition holds."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"did not come true within {timeout_s} s") from None
