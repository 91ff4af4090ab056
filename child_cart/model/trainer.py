"""The cart's side of the trainer process: start it when there is something to train, end it when it has been idle."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from cart_common.process.tasks import in_thread

from .verdict import VerdictReason

log = logging.getLogger("cart.trainer")

Json = dict[str, Any]
Row = dict[str, Any]
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
GRACE_S: Final = 2.0
OUT_OF_MEMORY: Final = {"MemoryError", "_ArrayMemoryError", "ResourceExhaustedError"}
"""What Python, NumPy and TensorFlow raise when they are given no memory."""


class TrainerError(Exception):
    """A training command was not carried out; the message says why."""


class TrainerDied(TrainerError):
    """The trainer process ended in the middle of a command, or has to be ended."""


@dataclass(frozen=True)
class Stored:
    """A weights file and its digest."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Initial:
    """The starting weights, and what they are the start of."""

    digest: str
    signature: str
    parameters: int


@dataclass(frozen=True)
class Trained:
    """A weights file that the trainer has written, and how good it is."""

    digest: str
    accuracy: float
    summary: Json
    rows: int = 0


@dataclass(frozen=True)
class Score:
    """How good a received model is: an accuracy, or the reason why it has none."""

    accuracy: float | None = None
    reason: VerdictReason | None = None


@dataclass(frozen=True)
class Epoch:
    """How far a training is."""

    epoch: int
    epochs: int
    loss: float | None
    """Mean loss of the epoch; None if it is not finite."""


EpochReport = Callable[[Epoch], None]


class Trainer(Protocol):
    """Whatever trains, scores and averages. Each call raises ``TrainerError`` if it is not carried out.

    ``own_rows`` are the cart's held-out rows, on which accuracy is measured beside the task's common ones.
    """

    async def initialise(self, target: Path) -> Initial:
        """Write the task's starting weights."""

    async def start(self, base: Stored, own_rows: list[Row], target: Path, report: EpochReport) -> Trained:
        """Train on the starter rows."""

    async def train(
        self, base: Stored, rows: list[Row], own_rows: list[Row], target: Path, report: EpochReport
    ) -> Trained:
        """Train on these rows."""

    async def score(self, payload: Path, own_rows: list[Row]) -> Score:
        """Check and measure a received payload."""

    async def adopt(self, payload: Path, own_rows: list[Row], target: Path) -> Trained:
        """Make a received payload a weights file."""

    async def average(
        self, base: Stored, share: float, received: list[tuple[Path, float]], own_rows: list[Row], target: Path
    ) -> Trained:
        """Average the base with received payloads, weighted by their shares."""

    async def export(self, base: Stored, kind: str, target: Path) -> None:
        """Write the model in a format that other programs read."""

    async def close(self) -> None:
        """End the process."""


@dataclass(frozen=True)
class TrainerSetup:
    """What the trainer process is started with."""

    task: str
    share: tuple[int, int]
    data: str
    starter_rows: int
    threads: int
    memory_bytes: int
    """Most memory that it may take beside mapped files; 0 for no limit."""
    idle_s: float
    silence_s: float
    log_path: Path


class ProcessTrainer:
    """A ``Trainer`` that runs ``child_cart.model.worker`` in a process of its own."""

    def __init__(self, setup: TrainerSetup) -> None:
        self._setup = setup
        self._process: asyncio.subprocess.Process | None = None
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
        arguments = {"base": _stored(base), "own_rows": own_rows, "target": str(target)}
        return Trained(**await self._call("start", arguments, report))

    async def train(
        self, base: Stored, rows: list[Row], own_rows: list[Row], target: Path, report: EpochReport
    ) -> Trained:
        """Train on these rows."""
        arguments = {"base": _stored(base), "rows": rows, "own_rows": own_rows, "target": str(target)}
        return Trained(**await self._call("train", arguments, report))

    async def score(self, payload: Path, own_rows: list[Row]) -> Score:
        """Check and measure a received payload."""
        try:
            answer = await self._call("score", {"path": str(payload), "own_rows": own_rows})
        except PayloadRefused:
            return Score(reason=VerdictReason.BAD_PAYLOAD)
        return Score(answer.get("accuracy"), VerdictReason(answer["reason"]) if "reason" in answer else None)

    async def adopt(self, payload: Path, own_rows: list[Row], target: Path) -> Trained:
        """Make a received payload a weights file."""
        arguments = {"path": str(payload), "own_rows": own_rows, "target": str(target)}
        return Trained(**await self._call("adopt", arguments))

    async def average(
        self, base: Stored, share: float, received: list[tuple[Path, float]], own_rows: list[Row], target: Path
    ) -> Trained:
        """Average the base with received payloads, weighted by their shares."""
        arguments = {
            "base": {**_stored(base), "share": share},
            "received": [{"path": str(path), "share": part} for path, part in received],
            "own_rows": own_rows,
            "target": str(target),
        }
        return Trained(**await self._call("average", arguments))

    async def export(self, base: Stored, kind: str, target: Path) -> None:
        """Write the model in a format that other programs read."""
        await self._call("export", {"base": _stored(base), "kind": kind, "target": str(target)})

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            await self._end()

    async def _call(self, command: str, arguments: Json, report: EpochReport | None = None) -> Json:
        """Carry out one command at a time.

        Raises:
            PayloadRefused: if a peer's payload cannot be decoded.
            TrainerDied: if the process ended.
            TrainerError: if the command failed there.
        """
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                process = await self._started()
                line = await in_thread(json.dumps, {"command": command, "arguments": arguments})
                await self._write(process, line.encode() + b"\n")
                while "result" not in (answer := await self._read(process)):
                    if "error" in answer:
                        raise self._failure(answer["error"], answer["sentence"])
                    if report is not None:
                        report(Epoch(**answer["progress"]))
            except (asyncio.CancelledError, TrainerDied):
                # An answer that nobody waits for would be taken for the next command's.
                await self._end(kill=True)
                raise
            finally:
                self._idle = asyncio.get_running_loop().call_later(self._setup.idle_s, self._end_idle)
            result: Json = answer["result"]
            return result

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        setup = self._setup
        told = {
            "task": setup.task,
            "share": setup.share,
            "data": setup.data,
            "starter_rows": setup.starter_rows,
            "memory_bytes": setup.memory_bytes,
        }
        threads = str(setup.threads)
        # TensorFlow leaves files behind when it is killed: in a folder of its own they go with the next start.
        scratch = setup.log_path.with_name("scratch")
        await in_thread(_empty_folder, scratch)
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_NUM_INTRAOP_THREADS": threads,
            "TF_NUM_INTEROP_THREADS": "1",
            "OMP_NUM_THREADS": threads,
            "TMPDIR": str(scratch),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with open(setup.log_path, "wb") as trainer_log:  # noqa: ASYNC230 - opened once per process, at once
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "child_cart.model.worker", json.dumps(told)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=trainer_log,
                env=environment,
                limit=MAX_LINE_BYTES,
                start_new_session=True,  # Ctrl-C is for the cart, which ends its trainer itself
            )
        log.info("trainer started as process %d", self._process.pid)
        await self._read(self._process)
        return self._process

    async def _write(self, process: asyncio.subprocess.Process, line: bytes) -> None:
        assert process.stdin is not None
        # The pipe of a process that has just died may be known to be closed before the process is known to be dead.
        if process.stdin.is_closing():
            raise self._death(await process.wait())
        process.stdin.write(line)

    async def _read(self, process: asyncio.subprocess.Process) -> Json:
        silence_s = self._setup.silence_s
        try:
            async with asyncio.timeout(silence_s):
                line = await process.stdout.readline()  # type: ignore[union-attr]
        except TimeoutError:
            raise TrainerDied(f"The trainer said nothing for {silence_s:g} s and was ended.") from None
        except ValueError:
            raise TrainerDied(f"The trainer said more than {MAX_LINE_BYTES} bytes at once and was ended.") from None
        if not line.endswith(b"\n"):
            raise self._death(await process.wait())
        answer: Json = json.loads(line)
        return answer

    def _failure(self, kind: str, sentence: str) -> TrainerError:
        if kind in OUT_OF_MEMORY:
            # Started anew, it has its memory in one piece again.
            return TrainerDied(f"The trainer has run out of memory and was ended.{self._may_take()}")
        return _ERRORS.get(kind, TrainerError)(sentence)

    def _death(self, status: int) -> TrainerDied:
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        if -status == signal.SIGKILL:
            how += " (so the kernel ends it when the memory is used up)"
        return TrainerDied(
            f"The trainer process ended {how}; its last words are in {self._setup.log_path}.{self._may_take()}"
        )

    def _may_take(self) -> str:
        most = self._setup.memory_bytes
        return f" It may take {most:,} bytes of memory (trainer_memory_bytes)." if most else ""

    def _end_idle(self) -> None:
        self._ending = asyncio.ensure_future(self._end_if_idle())

    async def _end_if_idle(self) -> None:
        if not self._turn.locked():
            async with self._turn:
                if self._process is None:
                    return
                log.info("trainer ends: nothing to do for %g s", self._setup.idle_s)
                await self._end()

    async def _end(self, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if not kill:
            process.stdin.close()  # type: ignore[union-attr]
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class PayloadRefused(TrainerError):
    """A peer's payload cannot be decoded."""


_ERRORS: Final = {"CodecError": PayloadRefused}


def _empty_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _stored(stored: Stored) -> Json:
    return {"path": str(stored.path), "digest": stored.digest}
