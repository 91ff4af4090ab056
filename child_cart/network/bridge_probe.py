"""Measure how far away bridges are, and how full: ask one for its health now and then, and time the second answer."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from cart_common.process.backoff import jittered

from .bridge_selection import BridgeSelection, KnownBridge, Measurement
from .forward_proxy import DIRECT, VARIABLES, ForwardProxies, Proxy, ProxyError

# The first interval holds while there are bridges that were never measured, the second one afterwards.
FIRST_EVERY_S: Final = 20.0
EVERY_S: Final = 300.0
ANSWER_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 4096


class BridgeProbe:
    """Measures the bridges that a cart knows, one at a time.

    Args:
        bridges: chooses the bridge to measure, and gets the result.
        tls: how to trust ``wss://`` bridges; None for the system's trust store.
        on_measured: gets the address of each bridge after its measurement.
        proxies: those through which bridges are reached.
    """

    def __init__(
        self,
        bridges: BridgeSelection,
        tls: ssl.SSLContext | None,
        on_measured: Callable[[str], None],
        proxies: ForwardProxies = DIRECT,
    ) -> None:
        self._bridges = bridges
        self._on_measured = on_measured
        self._tls = tls
        self._proxies = proxies
        self._chance = random.SystemRandom()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            every_s = FIRST_EVERY_S if self._bridges.has_unmeasured() else EVERY_S
            await asyncio.sleep(jittered(every_s, 0.5, 1.5, self._chance.uniform))
            bridge = self._bridges.next_to_measure()
            if bridge is not None:
                self._bridges.note_measured(bridge.url, await self._measure(bridge))
                self._on_measured(bridge.url)

    async def _measure(self, bridge: KnownBridge) -> Measurement | None:
        """Return the measurement, or None if the answer is not that of the expected bridge."""
        address = f"http{bridge.url.removeprefix('ws')}/healthz"
        try:
            way = _way_through(self._proxies.proxy_for(bridge.url))
            # No decompression: an honest answer has a few bytes, and a hostile one could fill the memory.
            async with asyncio.timeout(ANSWER_S), aiohttp.ClientSession(auto_decompress=False) as session:
                await self._health_at(session, address, way)
                asked_at = time.monotonic()  # the connection is open by now
                health = await self._health_at(session, address, way)
                took_s = time.monotonic() - asked_at
            load = health["carts"] / max(health["max_carts"], 1)
            if not load >= 0.0:  # Python's JSON parser takes NaN, which cannot weigh a choice
                raise ValueError("no load")
            measured = Measurement(took_s, min(float(load), 1.0))
        except (
            TimeoutError,
            aiohttp.ClientError,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            ArithmeticError,
            ProxyError,
        ):
            return None
        except RecursionError:  # from an answer that is nested on purpose
            return None
        return measured if bridge.bridge_id in ("", health.get("bridge_id")) else None

    async def _health_at(self, session: aiohttp.ClientSession, address: str, way: dict[str, Any]) -> dict[str, Any]:
        options = {"ssl": self._tls or True, "allow_redirects": False, **way}
        async with session.get(address, **options) as answer:
            content = await answer.content.read(MAX_ANSWER_BYTES)
        body = json.loads(content)
        if not isinstance(body, dict):
            raise ValueError("no JSON object")
        return body


def _way_through(proxy: Proxy | None) -> dict[str, Any]:
    """Return how a request gets to its bridge, as options of aiohttp."""
    # A proxy must not answer by itself, which would tell nothing of the bridge.
    headers = {"Accept-Encoding": "identity", "Cache-Control": "no-cache"}
    if proxy is None:
        return {"headers": headers}
    shown = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
    if proxy.variable == VARIABLES["wss"]:  # only the request for the connection is the proxy's to read
        return {"headers": headers, "proxy": proxy.url, "proxy_headers": shown}
    return {"headers": headers | shown, "proxy": proxy.url}
