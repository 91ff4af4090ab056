"""The process that measures beside the carts, seen from the demo: requests go in, points and results come out."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from .config import DemoSettings, Plan
from .fleet import FleetError
from .processes import LAUNCHER, environment, last_line

Json = dict[str, Any]
TRAINING_THREADS: Final = 2


class Measuring:
    """One process of ``demo.references``, which ends with the block at the latest.

    Args:
        settings: the demo's settings.
        plan: the settings of the task's carts.
        folder: where the carts keep their data.

    Attributes:
        points: what was measured so far, by the round.
    """

    def __init__(self, settings: DemoSettings, plan: Plan, folder: Path) -> None:
        self._arguments = [str(folder), settings.task, str(settings.carts), str(plan.starter_rows)]
        self._log = folder / "references.log"
        self._process: asyncio.subprocess.Process | None = None
        self._asked = 0
        self.points: dict[int, Json] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()

    async def start(self) -> None:
        """Start the process."""
        threads = {"TF_NUM_INTRAOP_THREADS": str(TRAINING_THREADS), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-m", "demo.references", *self._arguments]
        with open(self._log, "wb") as errors:  # noqa: ASYNC230 - opened once
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(LAUNCHER), str(os.getpid()), *command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**environment(os.environ, self._log.parent), **threads},
                start_new_session=True,
            )

    @property
    def has_started(self) -> bool:
        """Whether the process was started."""
        return self._process is not None

    @property
    def newest_round(self) -> int:
        """The round of the newest point; -1 before the first."""
        return max(self.points, default=-1)

    async def measure(self, carts: Sequence[int]) -> None:
        """Measure these carts after their last common round: one more point.

        Raises:
            FleetError: if the process has failed.
        """
        await self._ask(carts, is_last=False)
        self._take_point(await self._answer())

    async def results(self, carts: Sequence[int], progress: Callable[[int, int], None]) -> Json:
        """Measure what all carts have, the last time; return the results.

        Args:
            carts: those of the last point.
            progress: called with the steps that are done, and their number.

        Raises:
            FleetError: if the process has failed.
        """
        while self._asked:  # a request that was interrupted is answered first
            self._take_point(await self._answer())
        await self._ask(carts, is_last=True)
        self._take_point(await self._answer())
        while "carts" not in (answer := await self._answer()):
            progress(answer["done"], answer["of"])
        return answer

    async def _ask(self, carts: Sequence[int], is_last: bool) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._asked += 1
        try:
            self._process.stdin.write(json.dumps({"carts": list(carts), "is_last": is_last}).encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            raise self._failure() from None

    async def _answer(self) -> Json:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise self._failure()
        answer: Json = json.loads(line)
        return answer

    def _take_point(self, answer: Json) -> None:
        self._asked -= 1
        self.points[answer["point"]["round"]] = answer["point"]

    def _failure(self) -> FleetError:
        words = last_line(self._log) or "it said nothing"
        return FleetError(f"The models could not be compared: {words} (see {self._log})")
