"""A cart's trainer without a process: the same commands, whose computations are made for all carts together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cart_common.process.json_values import Json
from child_cart.model.codec import CodecError
from child_cart.model.task import Row
from child_cart.model.trainer import NO_REHEARSAL, EpochReport, Initial, Rehearsal, Score, Stored, Trained, TrainerError
from child_cart.model.trainer_commands import Steps, Summarise, TrainerCommands
from child_cart.model.verdict import VerdictReason
from child_cart.model.weights_file import WeightsError

from .computing import Computing


class LabTrainer:
    """A ``Trainer``.

    Args:
        commands: those of the task; they keep no state, so that all carts may share them.
        computing: computes.
    """

    process_id = None

    def __init__(self, commands: TrainerCommands, computing: Computing) -> None:
        self._commands = commands
        self._computing = computing

    async def initialise(self, target: Path) -> Initial:
        """Write the task's starting weights."""
        return Initial(**await self._result(self._commands.initialise(str(target))))

    async def start(self, base: Stored, own_rows: list[Row], target: Path, report: EpochReport) -> Trained:
        """Train on the starter rows."""
        return Trained(**await self._result(self._commands.start(base.named(), own_rows, str(target))))

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
        steps = self._commands.train(base.named(), rows, own_rows, str(target), **rehearsal.named())
        return Trained(**await self._result(steps))

    async def score(self, payload: Path) -> Score:
        """Check and measure a received payload."""
        try:
            answer = await self._result(self._commands.score(str(payload)))
        except CodecError:
            return Score(reason=VerdictReason.BAD_PAYLOAD)
        return Score.of(answer)

    async def adopt(self, payload: Path, own_rows: list[Row], target: Path) -> Trained:
        """Make a received payload a weights file."""
        return Trained(**await self._result(self._commands.adopt(str(payload), own_rows, str(target))))

    async def average(
        self, base: Stored, share: float, received: list[tuple[Path, float]], own_rows: list[Row], target: Path
    ) -> Trained:
        """Average the base with received payloads, weighted by their shares."""
        models = [{"path": str(path), "share": part} for path, part in received]
        steps = self._commands.average({**base.named(), "share": share}, models, own_rows, str(target))
        return Trained(**await self._result(steps))

    async def export(self, base: Stored, kind: str, target: Path) -> None:
        """Refuse: nobody exports from a simulated cart."""
        raise TrainerError("A simulated cart exports no model.")

    async def close(self) -> None:
        """Do nothing: there is no process."""

    async def _result(self, steps: Steps[Json]) -> Json:
        result: Any = None
        try:
            while True:
                wanted = steps.send(result)
                # Nobody looks at the summary of a simulated cart.
                result = {} if isinstance(wanted, Summarise) else await self._computing.result(wanted)
        except StopIteration as end:
            return dict(end.value)
        except WeightsError as error:  # an outcome of this cart's round; any other error ends the run
            raise TrainerError(str(error)) from error
        finally:
            steps.close()
