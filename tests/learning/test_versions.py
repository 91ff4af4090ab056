"""The version that a cart gives to peers: as precise as it was told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.carts.node import Node
from support.carts.node import running as peer_running
from support.processes.programs import BridgeProcess, CartProcess, get, running, wait_for

from child_cart.db.records import Origin
from child_cart.db.sqlite import SqliteStore
from child_cart.learning.versions import Versions
from child_cart.model import codec
from child_cart.model.precision import Precision
from child_cart.model.trainer import Initial, Trained
from child_cart.model.weights_file import write_weights

WEIGHTS = [np.linspace(-1, 1, 1000, dtype=np.float32), np.full(3, 1e6, np.float32)]
DTYPES = {Precision.HALF: ["float16", "float32"], Precision.FULL: ["float32", "float32"]}


@pytest.mark.parametrize("precision", Precision)
async def test_it_is_encoded_as_precisely_as_told(tmp_path: Path, precision: Precision) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models", precision)
    first, second = versions.new_target(), versions.new_target()
    versions.add_initial("task", first, Initial(write_weights(first, WEIGHTS), "ab" * 16, 0))
    assert await versions.offerable() is None  # nothing was learned yet
    versions.add(Origin.STARTER, second, Trained(write_weights(second, WEIGHTS), 0.5, {}, 10))
    offered = await versions.offerable()
    assert offered is not None
    arrays = codec.decode(offered.payload)
    assert [str(array.dtype) for array in arrays] == DTYPES[precision]
    for sent, kept in zip(arrays, WEIGHTS, strict=True):
        assert sent == pytest.approx(kept, abs=2**-11)
    store.close()


@pytest.mark.parametrize("precision", Precision)
async def test_its_size_is_known_before_it_is_given(tmp_path: Path, precision: Precision) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models", precision)
    assert versions.sent_bytes() == 0
    weights = [np.linspace(-1, 1, 100_000, dtype=np.float32)]
    first, second = versions.new_target(), versions.new_target()
    versions.add_initial("task", first, Initial(write_weights(first, weights), "ab" * 16, 0))
    estimated = versions.sent_bytes()
    versions.add(Origin.STARTER, second, Trained(write_weights(second, weights), 0.5, {}, 10))
    offered = await versions.offerable()
    assert offered is not None
    assert versions.sent_bytes() == len(offered.payload) == pytest.approx(estimated, rel=0.02)
    store.close()


def test_a_model_that_is_too_large_for_the_setting_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHT_TASK_BALLAST_BYTES", "1000000")
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:1", "--join-wait-s", "0.1", "--max-model-bytes", "300000")
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        status = cart.status()
    (told,) = [caution for caution in status["cautions"] if caution["kind"] == "MODEL_SIZE"]
    assert "and max_model_bytes is 300,000: this cart refuses the model of every peer" in told["sentence"]
    assert any("more than max_model_bytes (300,000)" in event["text"] for event in status["events"])


@pytest.mark.parametrize(("flags", "dtype"), [((), "float16"), (("--wire-precision", "full"), "float32")])
async def test_a_peer_gets_it_like_that(tmp_path: Path, flags: tuple[str, ...], dtype: str) -> None:
    bridge = BridgeProcess(tmp_path)
    cart = CartProcess(tmp_path / "cart", bridge.url, "--join-wait-s", "0.1", *flags)
    with running(bridge, cart):
        await asyncio.to_thread(wait_for, lambda: cart.status().get("stage") == "SERVING")
        await asyncio.to_thread(wait_for, lambda: cart.status()["link"]["state"] == "ATTACHED")
        (entry,) = (await asyncio.to_thread(get, bridge.url.replace("ws", "http", 1) + "/status.json"))["carts"]
        taker = Node(bridge.url, tmp_path)
        taker.wanted = (entry["model_signature"], codec.CODEC)
        taker.standing = replace(taker.standing, model_signature=entry["model_signature"])
        async with peer_running(taker):
            payload = await taker.fetch_from(SimpleNamespace(id=entry["cart_id"]))
    assert {str(array.dtype) for array in codec.decode(payload)} == {dtype}
