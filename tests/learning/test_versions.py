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

from cart_common.process.settings import SettingError
from child_cart.config import CartSettings, SettingsBook
from child_cart.db.records import Origin
from child_cart.db.sqlite import SqliteStore
from child_cart.learning.bootstrap import check_folder
from child_cart.learning.sharing import Sharing
from child_cart.learning.versions import Versions
from child_cart.model import codec
from child_cart.model.precision import CODECS, Precision
from child_cart.model.trainer import Initial, Trained
from child_cart.model.weights_file import stored_arrays, write_weights

WEIGHTS = [np.linspace(-1, 1, 1000, dtype=np.float32).reshape(-1, 2), np.full(3, 1e6, np.float32)]
FIRST_DTYPE = {Precision.HALF: "float16"}  # quantised ones are read as float32
ERROR = {Precision.FULL: 0, Precision.HALF: 2**-11, Precision.INT8: 1.01 / 254, Precision.INT4: 1.01 / 14}
ROOM_BYTES = 1 << 24
READS = tuple(CODECS.values())


@pytest.mark.parametrize("precision", Precision)
async def test_it_is_encoded_as_precisely_as_told(tmp_path: Path, precision: Precision) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models", precision)
    first, second = versions.new_target(), versions.new_target()
    versions.add_initial("task", first, Initial(write_weights(first, WEIGHTS), "ab" * 16, 0))
    assert await versions.offerable(READS) is None  # nothing was learned yet
    versions.add(Origin.STARTER, second, Trained(write_weights(second, WEIGHTS), 0.5, {}, 10))
    offered = await versions.offerable(READS)
    assert offered is not None
    assert offered.codec == precision.codec
    sent, large = codec.decode(offered.payload, ROOM_BYTES)
    assert str(sent.dtype) == FIRST_DTYPE.get(precision, "float32")
    assert sent == pytest.approx(WEIGHTS[0], abs=ERROR[precision])
    assert (large == WEIGHTS[1]).all()
    store.close()


@pytest.mark.parametrize(
    ("preferred", "reads", "codec_of_offer"),
    [
        (Precision.HALF, ("float16", "float32"), "float16"),
        (Precision.HALF, ("float32",), "float32"),
        (Precision.HALF, ("int1", "wavelet"), "float32"),
        (Precision.FULL, ("float16", "float32"), "float32"),
        (Precision.INT4, ("float32", "float16", "int8", "int4"), "int4"),
        (Precision.INT4, ("float32", "float16"), "float16"),
        (Precision.INT8, ("float32", "int4"), "float32"),
        (Precision.FULL, ("float16",), "float32"),
    ],
)
async def test_a_peer_gets_the_preferred_codec_if_it_reads_it_and_full_precision_otherwise(
    tmp_path: Path, preferred: Precision, reads: tuple[str, ...], codec_of_offer: str
) -> None:
    store, versions = trained_on(tmp_path, 10, preferred)
    offered = await versions.offerable(reads)
    assert offered is not None
    assert offered.codec == codec_of_offer
    dtype = str(codec.decode(offered.payload, ROOM_BYTES)[0].dtype)
    assert dtype == {"float16": "float16"}.get(codec_of_offer, "float32")
    again, other = await versions.offerable(reads), await versions.offerable(READS)
    assert again is not None
    assert other is not None
    assert again.payload is offered.payload  # encoded once
    assert versions.sent_bytes() == len(other.payload)
    store.close()


@pytest.mark.parametrize(("rows", "told"), [(1, 1), (2, 2), (3, 2), (1023, 512), (1024, 1024), (0, None)])
async def test_samples_are_told_in_powers_of_two_and_only_if_wanted(
    tmp_path: Path, rows: int, told: int | None
) -> None:
    store, versions = trained_on(tmp_path, rows)
    for tell_samples, expected in ((False, None), (True, told)):
        offered = await versions.offerable(READS, tell_samples)
        assert offered is not None
        assert offered.samples == expected
    store.close()


async def test_peers_are_told_samples_only_if_the_operator_wants(tmp_path: Path) -> None:
    store, versions = trained_on(tmp_path, 10)
    book = SettingsBook(CartSettings(), store)
    sharing = Sharing(book, versions, SimpleNamespace(announce=lambda standing: None))
    for setting, told in (("off", None), ("on", 8), (None, None)):
        if setting != "off":  # which is the default
            book.change("tell_samples", setting)
        offered = await sharing.offer(READS)
        assert offered is not None
        assert offered.samples == told
    store.close()


def trained_on(folder: Path, rows: int, precision: Precision = Precision.HALF) -> tuple[SqliteStore, Versions]:
    """Return versions of which the newest was trained on so many rows."""
    store = SqliteStore(folder / "cart.db")
    versions = Versions(store, folder / "models", precision)
    first, second = versions.new_target(), versions.new_target()
    versions.add_initial("task", first, Initial(write_weights(first, WEIGHTS), "ab" * 16, 0))
    versions.add(Origin.STARTER, second, Trained(write_weights(second, WEIGHTS), 0.5, {}, rows))
    return store, versions


@pytest.mark.parametrize("precision", Precision)
async def test_personal_arrays_are_stored_and_backed_up_and_never_given(tmp_path: Path, precision: Precision) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models", precision)
    weights = [np.ones((500, 100), np.float32), np.linspace(0, 1, 90_000, dtype=np.float32).reshape(-1, 100)]
    first, second = versions.new_target(), versions.new_target()
    personal = {0: "head"}
    versions.add_initial("task", first, Initial(write_weights(first, weights, personal), "ab" * 16, 0))
    estimated = versions.sent_bytes()
    versions.add(Origin.STARTER, second, Trained(write_weights(second, weights, personal), 0.5, {}, 10))
    offered = await versions.offerable(READS)
    assert offered is not None
    (sent,) = codec.decode(offered.payload, ROOM_BYTES)
    assert sent == pytest.approx(weights[1], abs=ERROR[precision])
    assert len(offered.payload) == pytest.approx(estimated, rel=0.05)
    for names, is_refused in ((("head",), False), ((), True), (("body",), True), (("head", "body"), True)):
        assert versions.has_other_personal_layers(names) is is_refused
    backup = versions.forget(tmp_path / "backups")
    kept = stored_arrays(backup / "models" / second.name)
    assert [one.personal_layer for one in kept] == ["head", ""]
    store.close()


def test_a_folder_of_a_model_with_other_personal_layers_is_refused(tmp_path: Path) -> None:
    store, versions = trained_on(tmp_path, 10)
    task = SimpleNamespace(name="task")
    check_folder(versions, task, CartSettings(), tmp_path)
    task.personal_layers = ("head",)
    with pytest.raises(SettingError, match="holds a model with other personal layers than the task 'task' has now"):
        check_folder(versions, task, CartSettings(), tmp_path)
    store.close()


@pytest.mark.parametrize("precision", Precision)
async def test_its_size_is_known_before_it_is_given(tmp_path: Path, precision: Precision) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models", precision)
    assert versions.sent_bytes() == 0
    weights = [np.linspace(-1, 1, 100_000, dtype=np.float32).reshape(-1, 100)]
    first, second = versions.new_target(), versions.new_target()
    versions.add_initial("task", first, Initial(write_weights(first, weights), "ab" * 16, 0))
    estimated = versions.sent_bytes()
    versions.add(Origin.STARTER, second, Trained(write_weights(second, weights), 0.5, {}, 10))
    offered = await versions.offerable(READS)
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
        taker.wanted = (entry["model_signature"], READS)
        taker.standing = replace(taker.standing, model_signature=entry["model_signature"])
        async with peer_running(taker):
            payload = await taker.fetch_from(SimpleNamespace(id=entry["cart_id"]))
    assert {str(array.dtype) for array in codec.decode(payload, ROOM_BYTES)} == {dtype}
