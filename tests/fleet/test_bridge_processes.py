"""Bridges as processes: one that is killed in the middle of transfers, and one that is reached over TLS."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from support.bridges.in_process import until
from support.carts.light_task import points
from support.carts.node import Node, model_of, running
from support.networks.certificates import Authority
from support.processes.programs import HELD, BridgeProcess, CartProcess, wait_for
from support.processes.programs import running as started

SIZE = 3_000_000
BYTES_PER_S = 1_000_000  # so slow that it can be killed in the middle
ROWS = 20


async def test_transfers_outlive_a_bridge_that_is_killed(tmp_path: Path) -> None:
    payload = os.urandom(SIZE)
    bridge = BridgeProcess(tmp_path, "--max-bytes-per-s", str(BYTES_PER_S))
    with started(bridge):
        await until(bridge.answers)
        giver = Node(bridge.url, tmp_path, model_of(payload), slowest_bytes_per_s=1e5)
        taker = Node(bridge.url, tmp_path, slowest_bytes_per_s=1e5)
        async with running(giver, taker):
            fetching = asyncio.create_task(taker.fetch_from(giver))
            for past in (SIZE // 5, SIZE // 2):
                await until(lambda past=past: any(view.moved_bytes > past for view in taker.exchange.views()))  # type: ignore[misc]
                assert not fetching.done()
                bridge.kill()
                bridge.start()
            assert await fetching == payload
            # The same transfer, of which little was sent twice: none was given up and asked for again.
            assert len(taker.exchange.views()) == len(giver.exchange.views()) == 1
            sent_bytes = sum(map(len, giver.wire.frames))
            assert SIZE < sent_bytes < SIZE + 3 * taker.limits.window_bytes


def test_carts_learn_from_each_other_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.vouch()
    bridge = BridgeProcess(tmp_path, "--tls-cert", certificate, "--tls-key", key)
    trusting = ["--bridge-ca", str(authority.path), "--starter-rows", "20", "--dataset-size", str(ROWS)]
    alike = ["--min-peers", "1", "--accept-backward", "100", "--accept-forward", "100"]
    url = bridge.url.replace("ws://", "wss://")
    carts = [CartProcess(tmp_path / name, url, *trusting, *alike) for name in ("one", "other")]
    stranger = CartProcess(tmp_path / "stranger", url, "--join-wait-s", "0.1")
    with started(bridge, *carts, stranger):
        for cart in carts:
            wait_for(lambda cart=cart: cart.status().get("stage") == "SERVING", what="a cart serving")
        carts[0].post("/api/rows", {"batch_id": "rows", "rows": points(ROWS, seed=5)})
        wait_for(lambda: carts[0].status().get("rounds_ended"), what="the round ending")
        (record,) = carts[0].get("/api/rounds")["rounds"]
        assert record["outcome"] in HELD, record
        assert carts[0].status()["link"]["url"] == url
        # Who does not know the authority is told so, and sends nothing.
        wait_for(lambda: "certificate" in stranger.status().get("link", {}).get("reason", ""), what="a refusal")
