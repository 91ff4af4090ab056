"""A worker answers in time or fails in a way that is told apart; killing it frees its caller."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from support.bridges.in_process import until
from support.processes.programs import is_running

from cart_common.process.worker_process import (
    WorkerAnswerTooLong,
    WorkerFault,
    WorkerGone,
    WorkerProcess,
    WorkerSilent,
)

MOST_BYTES = 1000
ECHO = """
import json, os, sys, time
print("to the log", file=sys.stderr, flush=True)
for line in sys.stdin:
    order, _, rest = line.strip().partition(" ")
    if order == "exit":
        sys.exit(int(rest))
    if order == "close":
        os.close(1)
        continue
    if order == "fork":
        child = os.fork() or time.sleep(3600)
        print(json.dumps({"pid": child}), flush=True)
        continue
    print(json.dumps({"said": rest or os.environ.get("WORD")}) if order == "say" else "x" * int(rest), flush=True)
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WorkerProcess]]:
    (tmp_path / "echoing.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    started = []

    def make(**options) -> WorkerProcess:
        started.append(WorkerProcess("echoing", most_answer_bytes=MOST_BYTES, **options))
        return started[-1]

    yield make
    for worker in started:
        worker.end()
        assert not worker.is_running


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


def ask(worker: WorkerProcess, line: str, seconds: float = 30.0) -> dict[str, object]:
    worker.send(f"{line}\n".encode(), soon(seconds))
    return worker.answer(soon(seconds))


def test_it_answers_one_request_after_the_other(start, tmp_path) -> None:
    worker = start(environment={"WORD": "told"}, log_path=tmp_path / "log")
    assert ask(worker, "say") == {"said": "told"}
    worker.send(b"say one\nsay two\n", soon())
    assert [worker.answer(soon()), worker.answer(soon())] == [{"said": "one"}, {"said": "two"}]
    assert worker.is_running
    assert (tmp_path / "log").read_text() == "to the log\n"


def test_a_request_larger_than_a_pipe_arrives_whole(start) -> None:
    worker = start()
    assert ask(worker, f"say {'x' * 900}") == {"said": "x" * 900}
    worker.send(b" " * 1_000_000 + b"\n", soon())  # is answered as an unknown order
    with pytest.raises(WorkerGone, match="with status 1"):
        worker.answer(soon())


def test_how_it_ended_is_told(start) -> None:
    with pytest.raises(WorkerGone, match=r"^with status 3$") as caught:
        ask(start(), "exit 3")
    assert caught.value.status == 3
    worker = start()
    worker.kill()
    with pytest.raises(WorkerGone, match=r"^by signal 9$") as caught:
        worker.answer(soon())
    assert caught.value.status == -signal.SIGKILL
    worker._process.wait()
    with pytest.raises(WorkerGone, match=r"^by signal 9$"):
        worker.send(b"say\n", soon())


def test_one_that_closes_its_output_and_lives_on_is_silent(start) -> None:
    with pytest.raises(WorkerSilent):
        ask(start(), "close", 0.2)


def test_one_that_stands_still_is_silent(start) -> None:
    worker = start()
    ask(worker, "say hello")
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerSilent):
        ask(worker, "say", 0.05)
    with pytest.raises(WorkerSilent):
        worker.send(b"x" * 1_000_000, soon(0.05))


def test_a_long_answer_is_cut_off(start) -> None:
    for length in (MOST_BYTES + 1, 100 * MOST_BYTES):
        with pytest.raises(WorkerAnswerTooLong):
            ask(start(), f"shout {length}")


def test_its_input_ends_first_and_then_the_process(start) -> None:
    worker = start()
    ask(worker, "say hello")
    worker.end(grace_s=30)
    assert worker._process.wait() == 0
    worker.end()


def test_killing_it_from_another_thread_frees_a_waiting_one(start) -> None:
    worker = start()
    failed: list[WorkerFault] = []

    def wait_for_answer() -> None:
        try:
            worker.answer(soon(300))
        except WorkerFault as fault:
            failed.append(fault)

    waiting = threading.Thread(target=wait_for_answer)
    waiting.start()
    worker.kill()
    waiting.join(60)
    assert [str(fault) for fault in failed] == ["by signal 9"]


async def test_a_caller_that_is_cancelled_ends_it(start) -> None:
    worker = start()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        worker.answer(soon(300))

    waiting = asyncio.create_task(worker.attended(work))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert worker._process.wait() == -signal.SIGKILL


async def test_a_caller_that_is_cancelled_does_not_wait_for_a_child_of_the_worker(start) -> None:
    worker = start()
    child = ask(worker, "fork")["pid"]
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        worker.answer(soon(3600))

    waiting = asyncio.create_task(worker.attended(work))
    await begun.wait()
    waiting.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await until(lambda: not is_running(child))  # a process that SIGKILL ends takes a moment to die


async def test_what_attended_work_returns_and_raises_comes_through(start) -> None:
    worker = start()
    assert await worker.attended(partial(ask, worker, "say a")) == {"said": "a"}
    with pytest.raises(WorkerGone):
        await worker.attended(partial(ask, worker, "exit 0"))
