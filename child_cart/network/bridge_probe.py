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
    """

    def __init__(
        self, bridges: BridgeSelection, tls: ssl.SSLContext | None, on_measured: Callable[[str], None]
    ) -> None:
        self._bridges = bridges
        self._on_measured = on_measured
        self._tls = tls
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
            # No decompression: an honest answer has a few bytes, and a hostile one could fill the memory.
            async with asyncio.timeout(ANSWER_S), aiohttp.ClientSession(auto_decompress=False) as session:
                await self._health_at(session, address)
                asked_at = time.monotonic()  # the connection is open by now
                health = await self._health_at(session, address)
                took_s = time.monotonic() - asked_at
            load = health["carts"] / max(health["max_carts"], 1)
            if not load >= 0.0:  # Python's JSON parser takes NaN, which cannot weigh a choice
                raise ValueError("no load")
            measured = Measurement(took_s, min(float(load), 1.0))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, TypeError, KeyError, ArithmeticError):
            return None
        except RecursionError:  # from an answer that is nested on purpose
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
