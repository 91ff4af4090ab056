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
from child_cart.model.precision import CODEC_OF, CODECS, PLAIN, Precision
from child_cart.model.trainer import Trained
from child_cart.model.weights_file import write_weights

WEIGHTS = [np.linspace(-1, 1, 1000, dtype=np.float32).reshape(-1, 2), np.full(3, 1e6, np.float32)]
FIRST_DTYPE = {Precision.HALF: "float16"}  # quantised ones are read as float32
ERROR = {Precision.FULL: 0, Precision.HALF: 2**-11, Precision.INT8: 1.01 / 254, Precision.INT4: 1.01 / 14}
ROOM_BYTES = 1 << 24


@pytest.mark.parametrize("precision", Precision)
async def test_it_is_encoded_as_precisely_as_told(tmp_path: Path, precision: Precision) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models", precision)
    first, second = versions.new_target(), versions.new_target()
    versions.add_initial("task", first, write_weights(first, WEIGHTS), "ab" * 16)
    assert await versions.offerable() is None  # nothing was learned yet
    versions.add(Origin.STARTER, second, Trained(write_weights(second, WEIGHTS), 0.5, {}, 10))
    offered = await versions.offerable(CODECS)
    assert offered is not None
    assert offered.codec == CODEC_OF[precision]
    sent, large = codec.decode(offered.payload, ROOM_BYTES)
    assert str(sent.dtype) == FIRST_DTYPE.get(precision, "float32")
    assert sent == pytest.approx(WEIGHTS[0], abs=ERROR[precision])
    assert (large == WEIGHTS[1]).all()
    store.close()


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
async def test_a_peer_that_does_not_read_it_gets_half_precision(tmp_path: Path, precision: Precision) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models", precision)
    for number in range(3):
        target = versions.new_target()
        if number == 0:
            versions.add_initial("task", target, write_weights(target, WEIGHTS), "ab" * 16)
            continue
        weights = [array + np.float32(number) for array in WEIGHTS]
        versions.add(Origin.STARTER, target, Trained(write_weights(target, weights), 0.5, {}, 10))
        for read, dtype in (((PLAIN,), "float16"), (CODECS, "float32"), (("other", PLAIN), "float16")):
            offered = await versions.offerable(read)
            assert offered is not None
            assert offered.model_version == number
            assert offered.codec in read
            sent = codec.decode(offered.payload, ROOM_BYTES)[0]
            assert sent.dtype == dtype
            assert sent == pytest.approx(weights[0], abs=0.5)
    store.close()


@pytest.mark.parametrize("precision", Precision)
async def test_its_size_is_known_before_it_is_given(tmp_path: Path, precision: Precision) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models", precision)
    assert versions.sent_bytes() == 0
    weights = [np.linspace(-1, 1, 100_000, dtype=np.float32).reshape(-1, 100)]
    first, second = versions.new_target(), versions.new_target()
    versions.add_initial("task", first, write_weights(first, weights), "ab" * 16)
    estimated = versions.sent_bytes()
    versions.add(Origin.STARTER, second, Trained(write_weights(second, weights), 0.5, {}, 10))
    offered = await versions.offerable(CODECS)
    assert offered is not None
    assert versions.sent_bytes() == len(offered.payload) == pytest.approx(estimated, rel=0.02)
    store.close()


def test_a_model_that_is_too_large_for_the_setting_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHT_TASK_BALLAST_BYTES", "1000000")
    cart = CartProcess(
        tmp_path / "cart",
        "ws://127.0.0.1:1",
        "--join-wait-s",
        "0.1",
        "--wire-precision",
        "half",
        "--max-model-bytes",
        "300000",
    )
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
        taker.wanted = (entry["model_signature"], CODECS)
        taker.standing = replace(taker.standing, model_signature=entry["model_signature"])
        async with peer_running(taker):
            payload = await taker.fetch_from(SimpleNamespace(id=entry["cart_id"]))
    assert {str(array.dtype) for array in codec.decode(payload, ROOM_BYTES)} == {dtype}
