"""How far away bridges are, and how full: now and then one is asked for its health, and the second answer is timed."""

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

# So often while there are bridges that were never measured, and so often afterwards.
FIRST_EVERY_S: Final = 20.0
EVERY_S: Final = 300.0
ANSWER_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 4096


class BridgeProbe:
    """Measures the bridges that a cart knows, one at a time.

    Args:
        bridges: gives which, and takes what was measured.
        tls: how to trust ``wss://`` bridges; None for what the system trusts.
        on_measured: is told the address of a bridge of which more is known now.
    """

    def __init__(
        self, bridges: BridgeSelection, tls: ssl.SSLContext | None, on_measured: Callable[[str], None]
    ) -> None:
        self._bridges = bridges
        self._on_measured = on_measured
        self._tls = tls
        self._chance = random.SystemRandom()

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            every_s = FIRST_EVERY_S if self._bridges.has_unmeasured() else EVERY_S
            await asyncio.sleep(jittered(every_s, 0.5, 1.5, self._chance.uniform))
            bridge = self._bridges.next_to_measure()
            if bridge is not None:
                self._bridges.note_measured(bridge.url, await self._measure(bridge))
                self._on_measured(bridge.url)

    async def _measure(self, bridge: KnownBridge) -> Measurement | None:
        """Return what can be seen from here, or None if it does not answer as the bridge that it is said to be."""
        address = f"http{bridge.url.removeprefix('ws')}/healthz"
        try:
            # Nothing is unpacked: what comes is a few bytes, or was made to fill the memory.
            async with asyncio.timeout(ANSWER_S), aiohttp.ClientSession(auto_decompress=False) as session:
                await self._health_at(session, address)
                asked_at = time.monotonic()  # the connection is there by now
                health = await self._health_at(session, address)
                took_s = time.monotonic() - asked_at
            load = health["carts"] / max(health["max_carts"], 1)
            if not load >= 0.0:  # JSON as Python reads it has NaN, with which no chance can be weighed
                raise ValueError("no load")
            measured = Measurement(took_s, min(float(load), 1.0))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, TypeError, KeyError, ArithmeticError):
            return None
        except RecursionError:  # the answer was made for that
            return None
        return measured if bridge.bridge_id in ("", health.get("bridge_id")) else None

    async def _health_at(self, session: aiohttp.ClientSession, address: str) -> dict[str, Any]:
        headers = {"Accept-Encoding": "identity"}
        async with session.get(address, headers=headers, ssl=self._tls or True, allow_redirects=False) as answer:
            content = await answer.content.read(MAX_ANSWER_BYTES)
        body = json.loads(content)
        if not isinstance(body, dict):
            raise ValueError("no JSON object")
        return body
