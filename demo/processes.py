"""Processes that the demo starts, watches, and ends together with their descendants."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LAUNCHER: Final = Path(__file__).parent / "child.py"
ROOT: Final = Path(__file__).resolve().parent.parent
GRACE_S: Final = 3.0
TAIL_BYTES: Final = 4096


class Program:
    """One process, with its output in a log file. It has its own session, so that Ctrl-C reaches the demo alone."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process; the kernel kills it at the latest when the demo ends."""
        with open(self.log, "wb") as output:  # noqa: ASYNC230 - opened once
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(LAUNCHER), str(os.getpid()), sys.executable, *self._arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(os.environ, self.log.parent),
                start_new_session=True,
            )

    @property
    def process_id(self) -> int | None:
        """The process's id while it runs, or None."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def ending(self) -> str:
        """How the process ended, in words; empty while it runs, and before its start."""
        status = self._process.returncode if self._process is not None else None
        if status is None:
            return ""
        return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def last_words(self) -> str:
        """Return how the process ended, and the last line of its log."""
        return f"{self.ending or 'does not answer'}: {last_line(self.log) or 'it said nothing'}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process group."""
        if self.process_id is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process_id, number)

    async def wait(self) -> None:
        """Wait until the process ends."""
        if self._process is not None:
            await self._process.wait()


async def stop_all(programs: Sequence[Program]) -> None:
    """End the programs and their descendants: SIGTERM first, SIGKILL after ``GRACE_S``."""
    below = descendants(program.process_id for program in programs)
    for program in programs:
        program.send(signal.SIGTERM)
    # A stopped process handles no signal but SIGKILL until it continues.
    for program in programs:
        program.send(signal.SIGCONT)
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            await asyncio.gather(*(program.wait() for program in programs))
    below |= descendants(program.process_id for program in programs)
    for program in programs:
        program.send(signal.SIGKILL)
    for process in below:
        process.kill()
    await asyncio.gather(*(program.wait() for program in programs))


def environment(own: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment of a child: ours, with our module paths, so that it finds the same tasks.

    Its temporary folder is the demo's: TensorFlow leaves files there when it is killed, and the demo deletes them.
    """
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])
    return {**own, "PYTHONPATH": paths, "TMPDIR": str(folder)}


def last_line(log: Path) -> str:
    """Return the last line of a log that contains letters or digits."""
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    # This skips the ruler that ends the trace of an exception group.
    return next((line.strip("| \n") for line in reversed(lines) if any(map(str.isalnum, line))), "")


@dataclass(frozen=True)
class _Descendant:
    process_id: int
    started_at: str

    def kill(self) -> None:
        """Kill the process, unless another one has its id by now."""
        stat = _stat(self.process_id)
        if stat is not None and stat[1] == self.started_at:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.process_id, signal.SIGKILL)


def descendants(parents: Iterable[int | None]) -> set[_Descendant]:
    """Return all descendants of these processes; an empty set where the system has no ``/proc``."""
    children: dict[int, list[_Descendant]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        stat = _stat(int(entry.name))
        if stat is not None:
            children.setdefault(stat[0], []).append(_Descendant(int(entry.name), stat[1]))
    found: set[_Descendant] = set()
    open_ids = [parent for parent in parents if parent is not None]
    while open_ids:
        below = children.get(open_ids.pop(), [])
        found.update(below)
        open_ids += [process.process_id for process in below]
    return found


def _stat(process_id: int) -> tuple[int, str] | None:
    """Return a process's parent and its start time; id and start time together are unique."""
    try:
        words = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(words[1]), words[19]
