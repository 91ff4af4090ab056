"""The trainer process: started when needed, ended when idle, and killed at the cost of one command."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.bridges.in_process import until
from support.processes.programs import LIGHT_TASK, is_running

from cart_common.process.tuning import new_event_loop
from child_cart.model import codec
from child_cart.model.partition import Partition
from child_cart.model.precision import Precision, payload_of
from child_cart.model.process_trainer import ProcessTrainer, TrainerSetup
from child_cart.model.task import load_task
from child_cart.model.trainer import Initial, MixingRule, Offered, Stored, TrainerDied, TrainerError
from child_cart.model.trainer_commands import model_signature
from child_cart.model.verdict import VerdictReason
from child_cart.model.weights_file import read_weights, write_weights

ROWS = load_task(LIGHT_TASK).starter_rows(Partition())


def setup(tmp_path: Path, **changes: object) -> TrainerSetup:
    given = {
        "task": LIGHT_TASK,
        "partition": (0, 1),
        "data": "",
        "starter_rows": 50,
        "threads": 1,
        "memory_bytes": 0,
        "idle_s": 30.0,
        "silence_s": 60.0,
    }
    return TrainerSetup(**{**given, "log_path": tmp_path / "trainer.log", **changes})


@pytest.fixture
async def trainer(tmp_path: Path) -> AsyncIterator[ProcessTrainer]:
    made = ProcessTrainer(setup(tmp_path))
    yield made
    await made.close()


async def initial(trainer: ProcessTrainer, tmp_path: Path) -> tuple[Initial, Stored]:
    made = await trainer.initialise(tmp_path / "0.h5")
    return made, Stored(tmp_path / "0.h5", made.digest)


async def test_from_starting_weights_to_an_average(trainer: ProcessTrainer, tmp_path: Path) -> None:
    made, base = await initial(trainer, tmp_path)
    assert made.parameters == 9
    assert made.signature == model_signature("light", read_weights(base.path, base.digest))
    epochs = []
    started = await trainer.start(base, [], tmp_path / "1.h5", epochs.append)
    assert started.rows == 50
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4, 5]
    one = Stored(tmp_path / "1.h5", started.digest)
    trained = await trainer.train(one, ROWS[:200], ROWS[200:210], tmp_path / "2.h5", epochs.append)
    assert trained.value > 0.5
    payload = tmp_path / "payload"
    payload.write_bytes(codec.encode(read_weights(tmp_path / "2.h5", trained.digest)))
    score = await trainer.score(one, payload)
    assert score.value == trained.value
    judged = await trainer.mix(one, 50, [Offered(payload, 200)], [], tmp_path / "3.h5", MixingRule("uniform"))
    merged = judged.trained
    assert judged.value == merged.value
    for before, other, after in zip(
        read_weights(one.path, one.digest),
        read_weights(tmp_path / "2.h5", trained.digest),
        read_weights(tmp_path / "3.h5", merged.digest),
        strict=True,
    ):
        assert np.allclose(after, (before + other) / 2, atol=1e-6)
    adopted = (await trainer.adopt(base, payload, tmp_path / "4.h5")).trained
    assert read_weights(tmp_path / "4.h5", adopted.digest)[0].shape == (2, 3)


async def test_a_model_in_half_precision_is_scored_adopted_and_averaged(
    trainer: ProcessTrainer, tmp_path: Path
) -> None:
    _, base = await initial(trainer, tmp_path)
    trained = await trainer.train(base, ROWS[:200], ROWS[200:], tmp_path / "1.h5", lambda _: None)
    whole = read_weights(tmp_path / "1.h5", trained.digest)
    payload = tmp_path / "payload"
    payload.write_bytes(payload_of(whole, Precision.HALF))
    assert (await trainer.score(base, payload)).value == pytest.approx(trained.value, abs=0.02)
    adopted = (await trainer.adopt(base, payload, tmp_path / "2.h5")).trained
    one = Stored(tmp_path / "1.h5", trained.digest)
    merged = (await trainer.mix(one, 9, [Offered(payload, 9)], [], tmp_path / "3.h5", MixingRule("uniform"))).trained
    for name, digest in (("2.h5", adopted.digest), ("3.h5", merged.digest)):
        for before, after in zip(whole, read_weights(tmp_path / name, digest), strict=True):
            assert after.dtype == np.float32
            assert after == pytest.approx(before, abs=float(np.abs(before).max()) * 2**-11)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (None, VerdictReason.BAD_PAYLOAD),
        ([np.zeros((2, 3), np.float32)], VerdictReason.WRONG_SHAPE),
        ([np.zeros((2, 3), np.float64), np.zeros(3, np.float32)], VerdictReason.WRONG_SHAPE),
        ([np.full((2, 3), np.inf, np.float16), np.zeros(3, np.float16)], VerdictReason.NOT_FINITE),
        ([np.full((2, 3), np.nan, np.float32), np.zeros(3, np.float32)], VerdictReason.NOT_FINITE),
        ([np.full((2, 3), 1e9, np.float32), np.zeros(3, np.float32)], VerdictReason.HUGE_WEIGHTS),
    ],
)
async def test_hostile_models_get_a_reason(trainer: ProcessTrainer, tmp_path: Path, weights, reason) -> None:
    _, base = await initial(trainer, tmp_path)
    payload = tmp_path / "payload"
    payload.write_bytes(b"hostile bytes" if weights is None else codec.encode(weights))
    assert (await trainer.score(base, payload)).reason is reason
    assert (await trainer.initialise(tmp_path / "0.h5")).parameters == 9  # it goes on


async def test_starting_from_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("degrees,third\n10,0\n130,1\n")
    trainer = ProcessTrainer(setup(tmp_path, data=str(tmp_path / "rows.csv")))
    _, base = await initial(trainer, tmp_path)
    assert (await trainer.start(base, [], tmp_path / "1.h5", lambda _: None)).rows == 2
    await trainer.close()


async def test_a_failed_command_says_why_and_the_next_one_works(trainer: ProcessTrainer, tmp_path: Path) -> None:
    _, base = await initial(trainer, tmp_path)
    with pytest.raises(TrainerError, match="has changed"):
        await trainer.train(Stored(base.path, "00"), ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
    process = trainer.process_id
    await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
    assert trainer.process_id == process


OWN_TASK = """from tests.support.carts.light_task import LightTask

class Wrong(LightTask):
    def arrays(self, rows):
        return rows[0]["colour"], None

class Unbuilt(LightTask):
    def build_learner(self):
        raise ValueError("first line\\nlast line")
"""


async def test_the_users_mistake_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tills.py").write_text(OWN_TASK)
    monkeypatch.syspath_prepend(tmp_path)
    trainer = ProcessTrainer(setup(tmp_path, task="tills:Wrong"))
    _, base = await initial(trainer, tmp_path)
    with pytest.raises(TrainerError) as failed:
        await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
    assert str(failed.value) == f"The task failed in {tmp_path}/tills.py, line 5 (KeyError: 'colour')."
    await trainer.close()


async def test_a_task_that_cannot_be_built_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tills.py").write_text(OWN_TASK)
    monkeypatch.syspath_prepend(tmp_path)
    trainer = ProcessTrainer(setup(tmp_path, task="tills:Unbuilt"))
    for _ in range(2):
        with pytest.raises(TrainerDied) as failed:
            await trainer.initialise(tmp_path / "0.h5")
        assert str(failed.value) == f"The task failed in {tmp_path}/tills.py, line 9 (ValueError: last line)."
        assert trainer.process_id is None
    await trainer.close()


async def test_a_killed_trainer_costs_its_command(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIGHT_TASK_EPOCH_S", "30")
    trainer = ProcessTrainer(setup(tmp_path))
    _, base = await initial(trainer, tmp_path)
    work = asyncio.create_task(trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None))
    await asyncio.sleep(0.05)
    os.kill(trainer.process_id, signal.SIGKILL)
    with pytest.raises(TrainerDied, match=r"by signal 9 \(as the kernel.*trainer\.log"):
        await work
    monkeypatch.setenv("LIGHT_TASK_EPOCH_S", "0")
    await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
    await trainer.close()


def test_a_trainer_killed_at_rest_costs_one_command_at_most(tmp_path: Path) -> None:
    async def kill_and_call() -> None:
        trainer = ProcessTrainer(setup(tmp_path))
        for passes in range(12):  # of the event loop, until it knows of the closed pipe, and then of the death
            _, base = await initial(trainer, tmp_path)
            os.kill(trainer.process_id, signal.SIGKILL)
            while is_running(trainer.process_id):
                time.sleep(0.001)  # noqa: ASYNC251 - the loop is not to see it yet
            for _ in range(passes):
                await asyncio.sleep(0)
            with suppress(TrainerDied):
                await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
        await trainer.close()

    # As in a cart: uvloop's pipe raises on a write after its end, which asyncio's own passes over.
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(kill_and_call())


async def test_a_cancelled_command_ends_the_process(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIGHT_TASK_EPOCH_S", "30")
    trainer = ProcessTrainer(setup(tmp_path))
    _, base = await initial(trainer, tmp_path)
    work = asyncio.create_task(trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None))
    await asyncio.sleep(0.05)
    process = trainer.process_id
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert trainer.process_id is None
    assert not is_running(process)
    assert not (tmp_path / "1.h5").exists()


async def test_an_idle_trainer_ends(tmp_path: Path) -> None:
    trainer = ProcessTrainer(setup(tmp_path, idle_s=0.05))
    await trainer.initialise(tmp_path / "0.h5")
    process = trainer.process_id
    await until(lambda: trainer.process_id is None)
    await until(lambda: not is_running(process))
    await trainer.initialise(tmp_path / "1.h5")
    await trainer.close()
    await trainer.close()


async def test_a_task_that_cannot_be_built_is_told(tmp_path: Path) -> None:
    trainer = ProcessTrainer(setup(tmp_path, task="child_cart.model.task:KerasTask"))
    with pytest.raises(TrainerDied, match="is not a task: it lacks parse_row"):
        await trainer.initialise(tmp_path / "0.h5")
    assert "is not a task" in (tmp_path / "trainer.log").read_text()


async def test_an_idle_trainer_ends_after_a_refused_payload_too(tmp_path: Path) -> None:
    trainer = ProcessTrainer(setup(tmp_path, idle_s=0.05))
    _, base = await initial(trainer, tmp_path)
    (tmp_path / "payload").write_bytes(b"hostile bytes")
    assert (await trainer.score(base, tmp_path / "payload")).reason is VerdictReason.BAD_PAYLOAD
    await until(lambda: trainer.process_id is None)
    await trainer.close()


async def test_a_trainer_that_hangs_is_ended(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIGHT_TASK_EPOCH_S", "30")
    trainer = ProcessTrainer(setup(tmp_path))
    _, base = await initial(trainer, tmp_path)
    process = trainer.process_id
    trainer._setup = replace(trainer._setup, silence_s=0.2)  # from now on: a start may take longer
    with pytest.raises(TrainerDied, match=r"said nothing for 0\.2 s"):
        await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
    assert not is_running(process)


async def test_weights_that_are_not_finite_are_never_kept(trainer: ProcessTrainer, tmp_path: Path) -> None:
    _, base = await initial(trainer, tmp_path)
    weights = [np.full((2, 3), np.nan, np.float32), np.zeros(3, np.float32)]
    broken = Stored(tmp_path / "nan.h5", write_weights(tmp_path / "nan.h5", weights))
    epochs = []
    with pytest.raises(TrainerError, match="NOT_FINITE"):
        await trainer.train(broken, ROWS[:5], [], tmp_path / "1.h5", epochs.append)
    assert epochs[0].loss is None
    assert not (tmp_path / "1.h5").exists()
    assert (await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)).rows == 5


async def test_a_model_of_other_shapes_is_named(trainer: ProcessTrainer, tmp_path: Path) -> None:
    await initial(trainer, tmp_path)
    other = Stored(tmp_path / "o.h5", write_weights(tmp_path / "o.h5", [np.zeros((9, 9), np.float32)]))
    with pytest.raises(TrainerError, match="has other shapes than the task's"):
        await trainer.train(other, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)


MANY_BYTES = 500_000_000
LIMIT_BYTES = 300_000_000


async def test_a_trainer_that_is_given_no_more_memory_says_so_and_starts_anew(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIGHT_TASK_TRAIN_BYTES", str(MANY_BYTES))
    trainer = ProcessTrainer(setup(tmp_path, memory_bytes=LIMIT_BYTES))
    _, base = await initial(trainer, tmp_path)
    process = trainer.process_id
    with pytest.raises(TrainerDied, match=r"run out of memory.* 300,000,000 bytes of memory \(trainer_memory_bytes\)"):
        await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
    assert not is_running(process)
    monkeypatch.setenv("LIGHT_TASK_TRAIN_BYTES", "1000000")
    await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
    await trainer.close()


async def test_a_model_that_does_not_fit_says_how_much_there_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIGHT_TASK_BALLAST_BYTES", str(MANY_BYTES))
    trainer = ProcessTrainer(setup(tmp_path, memory_bytes=LIMIT_BYTES))
    with pytest.raises(TrainerDied, match=r"run out of memory.*300,000,000 bytes of memory"):
        await trainer.initialise(tmp_path / "0.h5")
    await trainer.close()


async def test_without_a_limit_nothing_is_said_of_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIGHT_TASK_TRAIN_BYTES", str(1 << 60))
    trainer = ProcessTrainer(setup(tmp_path))
    _, base = await initial(trainer, tmp_path)
    with pytest.raises(TrainerDied) as caught:
        await trainer.train(base, ROWS[:5], [], tmp_path / "1.h5", lambda _: None)
    assert str(caught.value) == "The trainer has run out of memory and was ended."
    await trainer.close()
