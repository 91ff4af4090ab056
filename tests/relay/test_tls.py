"""wss:// from cart to bridge: trusted by a CA of one's own, and every wrong certificate named."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from support.bridges.in_process import until
from support.carts.node import Node, model_of, running
from support.networks.certificates import Authority

from cart_common.process.settings import SettingError
from cart_common.process.tls import serving_context
from child_cart.config import CartSettings
from child_cart.config.resources import bridge_trust
from parent_cart.config import BridgeSettings
from parent_cart.main import build


@asynccontextmanager
async def bridge_with(certificate: tuple[str, str] | None) -> AsyncIterator[int]:
    settings = BridgeSettings(tls_cert=certificate[0], tls_key=certificate[1]) if certificate else BridgeSettings()
    bridge = build(settings)
    runner = web.AppRunner(bridge.application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(
            runner, "127.0.0.1", 0, ssl_context=serving_context(settings.tls_cert, settings.tls_key, "BRIDGE")
        ).start()
        yield runner.addresses[0][1]
        await bridge.relay.close()
    finally:
        await runner.cleanup()


def trust(authority: Authority) -> ssl.SSLContext | None:
    return bridge_trust(CartSettings(bridge_ca=str(authority.path)))


async def test_carts_learn_from_each_other_over_tls(tmp_path: Path) -> None:
    authority, payload = Authority(tmp_path), os.urandom(300_000)
    async with bridge_with(authority.vouch()) as port:
        giver = Node(f"wss://127.0.0.1:{port}", tmp_path, model_of(payload), tls=trust(authority))
        taker = Node(f"wss://127.0.0.1:{port}", tmp_path, tls=trust(authority))
        async with running(giver, taker), aiohttp.ClientSession() as session:
            assert await taker.fetch_from(giver) == payload
            async with session.get(f"https://127.0.0.1:{port}/healthz", ssl=trust(authority)) as answer:
                assert (await answer.json())["carts"] == 2


async def reason_of(node: Node) -> str:
    import asyncio

    task = asyncio.create_task(node.link.run(node.exchange.home))
    await until(lambda: "Trying again" in node.link.status.reason)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return node.link.status.reason


async def test_a_certificate_of_an_unknown_ca_is_named(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    async with bridge_with(stranger.vouch()) as port:
        reason = await reason_of(Node(f"wss://127.0.0.1:{port}", tmp_path, tls=trust(authority)))
    assert f"The certificate of wss://127.0.0.1:{port} is not trusted (unable to get local issuer" in reason
    assert "Name its CA with --bridge-ca." in reason


@pytest.mark.parametrize(("host", "why"), [("127.0.0.1", "IP address mismatch"), ("localhost", "Hostname mismatch")])
async def test_a_certificate_for_another_name_is_no_matter_of_its_ca(tmp_path: Path, host: str, why: str) -> None:
    authority = Authority(tmp_path)
    async with bridge_with(authority.vouch("127.0.0.9")) as port:
        reason = await reason_of(Node(f"wss://{host}:{port}", tmp_path, tls=trust(authority)))
    assert f"The certificate of wss://{host}:{port} is for another name ({why}" in reason
    assert "Give this cart the name that the certificate holds (--bridge)" in reason
    assert "--bridge-ca" not in reason


@pytest.mark.parametrize(
    ("begins_days", "ends_days", "words"), [(-2, -1, "certificate has expired"), (1, 2, "certificate is not yet valid")]
)
async def test_a_certificate_out_of_its_time_points_at_the_clock(
    tmp_path: Path, begins_days: int, ends_days: int, words: str
) -> None:
    authority = Authority(tmp_path)
    certificate = authority.vouch(begins_in=timedelta(days=begins_days), ends_in=timedelta(days=ends_days))
    async with bridge_with(certificate) as port:
        reason = await reason_of(Node(f"wss://127.0.0.1:{port}", tmp_path, tls=trust(authority)))
    assert f"The certificate of wss://127.0.0.1:{port} does not hold at this time ({words})" in reason
    assert f"Check this machine's clock: it says {datetime.now(UTC):%Y-%m-}" in reason
    assert "--bridge-ca" not in reason


async def test_a_bridge_without_tls_is_named(tmp_path: Path) -> None:
    async with bridge_with(None) as port:
        assert "does not speak TLS" in await reason_of(Node(f"wss://127.0.0.1:{port}", tmp_path))


async def test_a_cart_without_tls_at_a_bridge_with_it(tmp_path: Path) -> None:
    async with bridge_with(Authority(tmp_path).vouch()) as port:
        reason = await reason_of(Node(f"ws://127.0.0.1:{port}", tmp_path))
        assert reason.startswith(f"The link to ws://127.0.0.1:{port} failed (")
        assert "If the bridge has a certificate, use wss:// instead." in reason


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    certificate, key = Authority(tmp_path).vouch()
    _, other_key = Authority(tmp_path).vouch()
    locked = tmp_path / "locked.key"  # under a passphrase, for which the bridge does not ask
    loaded = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked.write_bytes(loaded.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"word")))
    for files, sentence in (
        ((str(wrong), key), "--tls-cert (%s_TLS_CERT) is 'WRONG'; it holds no certificate as PEM"),
        ((certificate, str(wrong)), "--tls-key (%s_TLS_KEY) is 'WRONG'; it holds no private key as PEM"),
        ((certificate, other_key), "that key does not belong to the certificate"),
        ((certificate, str(locked)), "it is under a passphrase"),
        ((certificate, ""), "--tls-cert (%s_TLS_CERT) is given without --tls-key"),
        (("", key), "--tls-key (%s_TLS_KEY) is given without --tls-cert"),
        (("/no", key), "--tls-cert (%s_TLS_CERT) is '/no'; it cannot be read (No such file or directory)."),
    ):
        for prefix in ("BRIDGE", "CART"):
            named = sentence.replace("%s", prefix).replace("WRONG", str(wrong))
            with pytest.raises(SettingError, match=re.escape(named)):
                serving_context(*files, prefix)
    for path in (str(wrong), "/no"):
        with pytest.raises(SettingError, match=r"--bridge-ca \(CART_BRIDGE_CA\) is"):
            bridge_trust(CartSettings(bridge_ca=path))
