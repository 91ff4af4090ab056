"""A trainer in a process of its own: started when there is work, ended when it has been idle, killed at any time."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from cart_common.process.json_values import Json
from cart_common.process.tasks import in_thread
from cart_common.process.worker_process import WorkerAnswerTooLong, WorkerFault, WorkerGone, WorkerProcess

from .failure_words import OUT_OF_MEMORY
from .task import Row
from .trainer import (
    NO_REHEARSAL,
    Epoch,
    EpochReport,
    Initial,
    Judged,
    MixingRule,
    Offered,
    PayloadRefused,
    Rehearsal,
    Score,
    Stored,
    Trained,
    TrainerDied,
    TrainerError,
)
from .verdict import VerdictReason

log = logging.getLogger("cart.trainer")

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
GRACE_S: Final = 2.0


@dataclass(frozen=True)
class TrainerSetup:
    """What the trainer process is started with.

    Attributes:
        task: name of the task.
        partition: index and count of the cart's part of the starter rows.
        data: CSV file of the user's own rows; empty for the task's starter rows.
        starter_rows: most starter rows to train on.
        threads: that TensorFlow may compute with.
        memory_bytes: most memory that it may take beside mapped files; 0 for no limit.
        idle_s: seconds without work after which it is ended.
        silence_s: seconds without an answer after which it is ended.
        log_path: file for its standard error; beside it lies its folder for temporary files.
        is_tried: whether the task is tried when the first process starts.
    """

    task: str
    partition: tuple[int, int]
    data: str
    starter_rows: int
    threads: int
    memory_bytes: int
    idle_s: float
    silence_s: float
    log_path: Path
    is_tried: bool = False


class ProcessTrainer:
    """A ``Trainer`` that runs ``child_cart.model.worker`` in a process of its own."""

    def __init__(self, setup: TrainerSetup) -> None:
        self._setup = setup
        self._process: WorkerProcess | None = None
        self._is_untried = setup.is_tried
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int | None:
        """The id of the trainer process, or None while there is none."""
        return self._process.pid if self._process is not None else None

    async def initialise(self, target: Path) -> Initial:
        """Write the task's starting weights."""
        return Initial(**await self._call("initialise", {"target": str(target)}))

    async def start(self, base: Stored, own_rows: list[Row], target: Path, report: EpochReport) -> Trained:
        """Train on the starter rows."""
        arguments = {"base": base.named(), "own_rows": own_rows, "target": str(target)}
        return Trained(**await self._call("start", arguments, report))

    async def train(
        self,
        base: Stored,
        rows: list[Row],
        own_rows: list[Row],
        target: Path,
        report: EpochReport,
        rehearsal: Rehearsal = NO_REHEARSAL,
    ) -> Trained:
        """Train on these rows, with a rehearsal beside them."""
        arguments = {"base": base.named(), "rows": rows, "own_rows": own_rows, "target": str(target)}
        return Trained(**await self._call("train", {**arguments, **rehearsal.named()}, report))

    async def score(self, base: Stored, payload: Path) -> Score:
        """Check a received payload beside the base model, and measure it on the common evaluation rows, if any."""
        try:
            answer = await self._call("score", {"base": base.named(), "path": str(payload)})
        except PayloadRefused:
            return Score(reason=VerdictReason.BAD_PAYLOAD)
        return Score.of(answer)

    async def adopt(self, base: Stored, payload: Path, target: Path) -> Judged:
        """Make a received payload a weights file, unless it is worse than the base."""
        arguments = {"base": base.named(), "path": str(payload), "target": str(target)}
        return Judged.of(await self._call("adopt", arguments))

    async def mix(
        self,
        base: Stored,
        samples: int,
        received: list[Offered],
        own_rows: list[Row],
        target: Path,
        rule: MixingRule,
    ) -> Judged:
        """Mix the base, which was trained on so many rows, with received payloads, and write what is not worse."""
        arguments = {
            "base": {**base.named(), "samples": samples},
            "received": [one.named() for one in received],
            "own_rows": own_rows,
            "target": str(target),
            **rule.named(),
        }
        return Judged.of(await self._call("mix", arguments))

    async def export(self, base: Stored, kind: str, target: Path) -> None:
        """Write the model in a format that other programs read."""
        await self._call("export", {"base": base.named(), "kind": kind, "target": str(target)})

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            await self._end(GRACE_S)

    async def _call(self, command: str, arguments: Json, report: EpochReport | None = None) -> Json:
        """Carry out one command at a time.

        Raises:
            PayloadRefused: if a peer's payload cannot be decoded.
            TrainerDied: if the process ended.
            TrainerError: if the command failed there.
        """
        loop = asyncio.get_running_loop()

        def tell(epoch: Epoch) -> None:
            if report is not None:
                loop.call_soon_threadsafe(report, epoch)

        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                process = await self._started()
                return await process.attended(partial(self._carry_out, process, command, arguments, tell))
            except (asyncio.CancelledError, TrainerDied):
                # An answer that comes late would pass for that of the next command.
                await self._end()
                raise
            finally:
                self._idle = loop.call_later(self._setup.idle_s, self._end_idle)

    async def _started(self) -> WorkerProcess:
        if self._process is not None and self._process.is_running:
            return self._process
        await self._end()  # lets the pipes of one that has ended go
        setup = self._setup
        told = {
            "task": setup.task,
            "partition": setup.partition,
            "data": setup.data,
            "starter_rows": setup.starter_rows,
            "memory_bytes": setup.memory_bytes,
            "is_tried": self._is_untried,
        }
        threads = str(setup.threads)
        # TensorFlow leaves files behind when it is killed: in a folder of its own they go with the next start.
        scratch = setup.log_path.with_name("scratch")
        await in_thread(_empty_folder, scratch)
        # In this thread, not in one that may end before the cart: the kernel ends the trainer with the thread that
        # started it.
        self._process = WorkerProcess(
            *("child_cart.model.worker", json.dumps(told)),
            environment={
                "KERAS_BACKEND": "tensorflow",  # another in the environment of the cart is not for its trainer
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "TF_NUM_INTRAOP_THREADS": threads,
                "TF_NUM_INTEROP_THREADS": "1",
                "OMP_NUM_THREADS": threads,
                "TMPDIR": str(scratch),
            },
            log_path=setup.log_path,
            most_answer_bytes=MAX_LINE_BYTES,
        )
        log.info("trainer started as process %d", self._process.pid)
        answer = await self._process.attended(partial(self._answer, self._process))
        if "error" in answer:  # else it says that it is ready
            raise TrainerDied(str(self._failure(answer["error"], answer["sentence"])))
        self._is_untried = False
        return self._process

    # In a thread.

    def _carry_out(self, process: WorkerProcess, command: str, arguments: Json, tell: EpochReport) -> Json:
        line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
        answer = self._answer(process, line)
        while "result" not in answer:
            if "error" in answer:
                raise self._failure(answer["error"], answer["sentence"])
            tell(Epoch(**answer["progress"]))
            answer = self._answer(process)
        result: Json = answer["result"]
        return result

    def _answer(self, process: WorkerProcess, line: bytes = b"") -> Json:
        """Send a line, and return the next one that the trainer says."""
        silence_s = self._setup.silence_s
        ends_at = time.monotonic() + silence_s
        try:
            process.send(line, ends_at)
            return process.answer(ends_at)
        except WorkerGone as gone:
            raise self._death(gone) from None
        except WorkerAnswerTooLong:
            raise TrainerDied(f"The trainer said more than {MAX_LINE_BYTES} bytes at once and was ended.") from None
        except WorkerFault:
            raise TrainerDied(f"The trainer said nothing for {silence_s:g} s and was ended.") from None

    def _failure(self, kind: str, sentence: str) -> TrainerError:
        if kind in OUT_OF_MEMORY:
            # Started anew, it has its memory in one piece again.
            return TrainerDied(f"The trainer has run out of memory and was ended.{self._may_take()}")
        return PayloadRefused(sentence) if kind == "CodecError" else TrainerError(sentence)

    def _death(self, gone: WorkerGone) -> TrainerDied:
        how = str(gone)
        if gone.status == -signal.SIGKILL:
            how += " (as the kernel does when memory runs out)"
        return TrainerDied(
            f"The trainer process ended {how}; its last output is in {self._setup.log_path}.{self._may_take()}"
        )

    def _may_take(self) -> str:
        most = self._setup.memory_bytes
        return f" It may take {most:,} bytes of memory (trainer_memory_bytes)." if most else ""

    # Ending.

    def _end_idle(self) -> None:
        self._ending = asyncio.ensure_future(self._end_if_idle())

    async def _end_if_idle(self) -> None:
        if not self._turn.locked():
            async with self._turn:
                if self._process is None:
                    return
                log.info("trainer ends: nothing to do for %g s", self._setup.idle_s)
                await self._end(GRACE_S)

    async def _end(self, grace_s: float = 0.0) -> None:
        process, self._process = self._process, None
        if process is not None:
            await in_thread(process.end, grace_s)


def _empty_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
