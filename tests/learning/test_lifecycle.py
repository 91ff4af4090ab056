"""A cart that was reset offers nothing until it has learned again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.bridges.in_process import until
from support.carts.fake_trainer import FakeTrainer
from support.carts.light_task import LightTask

from child_cart.cart import build
from child_cart.config import CartSettings
from child_cart.learning.activity import Stage


async def test_after_a_reset_a_link_that_comes_back_has_nothing_to_tell(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    settings = CartSettings(bridge="ws://127.0.0.1:9", join_wait_s=0.0)
    parts = build(settings, LightTask(), tmp_path, trainer)
    learning = asyncio.create_task(parts.learning.lifecycle.run())
    try:
        await until(lambda: parts.local.activity.stage is Stage.SERVING)
        assert parts.network.link.standing.model_version > 0
        trainer.failing = {"initialise"}
        parts.learning.lifecycle.ask_reset()
        await until(lambda: any("not ready" in event.text for event in parts.local.activity.events()))
        assert parts.local.versions.current is None
        assert parts.network.link.standing.model_version == 0
    finally:
        learning.cancel()
        await asyncio.wait([learning])
        parts.shop.reader.close()
        parts.local.store.close()
