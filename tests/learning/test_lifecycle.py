"""A cart that was reset offers nothing until it has learned again; one with a model of another shape says so."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from support.bridges.in_process import until
from support.carts.fake_trainer import FakeTrainer
from support.carts.light_task import LightTask
from support.carts.node import SIGNATURE

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


async def test_a_cart_with_the_model_that_its_task_had_earlier_says_so_and_learns_anew_after_a_reset(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cart.rounds")
    trainer, task = FakeTrainer(), LightTask()
    parts = build(CartSettings(bridge="ws://127.0.0.1:9", join_wait_s=0.0), task, tmp_path, trainer)
    activity, versions = parts.local.activity, parts.local.versions
    learning = asyncio.create_task(parts.learning.lifecycle.run())
    try:
        await until(lambda: activity.stage is Stage.SERVING)
        learning.cancel()
        await asyncio.wait([learning])
        task.kept_by = {SIGNATURE: "other-task"}  # as after an upgrade
        trainer.failing = {"train", "start", "mix", "score", "adopt"}  # nothing of it may be tried
        learning = asyncio.create_task(parts.learning.lifecycle.run())
        await until(lambda: bool(activity.trouble))
        assert "Start the cart with --task other-task to go on with it" in activity.trouble
        assert activity.stage is Stage.PREPARING
        assert parts.network.link.standing.model_version == versions.newest.number  # peers of its shape still get it
        assert [activity.trouble in record.getMessage() for record in caplog.records].count(True) == 1
        trainer.failing, trainer.signature = set(), "cd" * 16
        parts.learning.lifecycle.ask_reset()
        await until(lambda: activity.stage is Stage.SERVING)
        assert activity.trouble == ""
        assert list((tmp_path / "backups").iterdir())
    finally:
        learning.cancel()
        await asyncio.wait([learning])
        parts.shop.reader.close()
        parts.local.store.close()
