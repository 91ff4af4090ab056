"""What the demo sees of a cart, and what it does where its display fails."""

import asyncio
import io

import aiohttp
import pytest
from aiohttp import web
from rich.console import Console

from demo.config import DemoSettings
from demo.main import Demo
from demo.watch import CartView
from tests.support.processes.programs import free_port

TOKEN = "a token"
PUBLIC = {"stage": "SERVING", "model": None, "rounds_ended": 0, "rows": {"total": 0}, "epoch": None}


async def status(request):
    """Answer as a cart does: strangers see the public part only."""
    is_operator = request.headers.get("Authorization") == f"Bearer {TOKEN}"
    return web.json_response({**PUBLIC, **({"transfers": []} if is_operator else {})})


async def test_a_cart_whose_token_is_not_written_yet_has_not_answered(tmp_path):
    app = web.Application()
    app.router.add_get("/api/status", status)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        view = CartView(1, f"http://127.0.0.1:{port}", tmp_path)
        async with aiohttp.ClientSession() as client:
            assert not await view.look(client)
            assert not view.status
            (tmp_path / "api-token").write_text("another\n")
            assert not await view.look(client)
            (tmp_path / "api-token").write_text(f"{TOKEN}\n")
            assert await view.look(client)
            assert view.status["transfers"] == []
    finally:
        await runner.cleanup()


async def test_a_display_that_fails_ends_the_demo_at_once(tmp_path, monkeypatch):
    demo = Demo(DemoSettings(carts=1), [[]], tmp_path, Console(file=io.StringIO(), force_terminal=True))

    async def no_start(client):
        pass

    def table(note=""):
        raise KeyError("a mistake in the table")

    monkeypatch.setattr(demo._fleet, "start", no_start)
    monkeypatch.setattr(demo._screen, "_table", table)
    monkeypatch.setattr("demo.main.Shoppers.run", lambda *_: asyncio.sleep(0))
    monkeypatch.setattr(demo._measuring, "start", lambda: asyncio.sleep(3600))
    run = asyncio.create_task(demo._start_and_learn())
    await asyncio.wait({run}, timeout=20)
    assert run.done(), "the demo goes on unseen"
    with pytest.raises(KeyError, match="a mistake in the table"):
        await run
