"""Spread trainings and measurements over a Ray cluster.

A machine has one worker where models are trained side by side, by threads on all cores, and one a core where they are
trained one by one. A result depends on a model and its rows alone. So it is the same from any worker, and what a lost
worker had to compute is computed by another one.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from cart_common.process.settings import SettingError
from child_cart.model.arrays import Array, Tree, Weights
from child_cart.model.task import Task
from child_cart.model.trainer_commands import Predict, Train

from ..packages import versions
from .ray_cluster import ClusterLostError, cores_by_node, first_line, joined
from .ray_worker import BuiltEngine, RayWorker
from .vectorised import CHUNK

T = TypeVar("T")

log = logging.getLogger(__name__)

START_S: Final = 300
"""Workers that are not there by then take no part: the cluster may have no cores free."""
IN_FLIGHT: Final = 2
"""Parts that a worker has: it computes one while the next one is on its way."""
PARTS: Final = 4
"""Parts a worker, so that a fast one computes more of them."""


class RayEngine:
    """An engine whose workers are actors of a Ray cluster.

    Args:
        address: of the cluster; empty for a new one on this machine.
        task: what is learned.
        sample: inputs and targets of a few rows, for the trial of each worker.

    Attributes:
        words: what computes.
        metric: how the task measures models.
        layout: what the weights are.

    Raises:
        SettingError: if Ray is not installed, there is no cluster, or its machines would compute something else.
        Exception: what the task raises, if it cannot be trained there.
    """

    def __init__(self, address: str, task: Task, sample: tuple[Tree, ...]) -> None:
        self._ray, self._is_own = joined(address)
        self._workers: list[Any] = []
        try:
            cores = cores_by_node(self._ray)
            built = self._begun(dict.fromkeys(cores, 1), task, sample)
            side_by_side = all(one.words == "vectorised" for one in built)
            if not side_by_side:
                built += self._begun({node: count - 1 for node, count in cores.items()}, task, sample)
            if not built:
                raise SettingError(f"No worker has begun in the Ray cluster within {START_S} seconds: no core is free.")
            _check_equal(built)
        except BaseException:
            self.close()
            raise
        self._unit = CHUNK if side_by_side else 1
        self._start = built[0].start
        self.metric, self.layout = built[0].metric, built[0].layout
        self.words = f"ray ({len(self._workers)} workers on {len(cores)} nodes), {built[0].words}"

    def start(self) -> list[Array]:
        """Return the task's starting weights."""
        return self._start

    def train(self, wanted: Sequence[Train]) -> list[Weights]:
        """Train each model on its own rows."""
        return self._spread("train", wanted)

    def predict(self, wanted: Sequence[Predict]) -> list[Array]:
        """Return the scores of each model."""
        return self._spread("predict", wanted)

    def close(self) -> None:
        """End the workers, and the cluster if it was started here."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers.clear()
        if self._is_own:
            self._ray.shutdown()

    def _begun(self, counts: Mapping[str, int], task: Task, sample: tuple[Tree, ...]) -> list[BuiltEngine]:
        """Begin as many workers on each node; return what they have built."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - optional

        remote = self._ray.remote(RayWorker)
        begun: dict[Any, Any] = {}
        for node, count in counts.items():
            here = NodeAffinitySchedulingStrategy(node, soft=False)
            for _ in range(count):
                worker = remote.options(num_cpus=1, scheduling_strategy=here).remote(task, sample)
                begun[worker.build.remote()] = worker
        built: list[BuiltEngine] = []
        if not begun:
            return built
        ready, late = self._ray.wait(list(begun), num_returns=len(begun), timeout=START_S)
        for result in late:
            self._ray.kill(begun[result])
        for result in ready:
            try:
                built.append(self._ray.get(result))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                raise SettingError(f"A worker of the Ray cluster cannot begin: {first_line(error)}.") from None
            self._workers.append(begun[result])
        return built

    def _spread(self, method: str, wanted: Sequence[Any]) -> list[Any]:
        if not wanted:
            return []
        size = self._unit * -(-len(wanted) // (self._unit * PARTS * len(self._workers)))
        waiting = deque(slice(start, start + size) for start in range(0, len(wanted), size))
        running: dict[Any, tuple[Any, slice]] = {}
        results: list[Any] = [None] * len(wanted)
        while waiting or running:
            busy = Counter(worker for worker, _ in running.values())
            for worker in self._workers * IN_FLIGHT:
                if waiting and busy[worker] < IN_FLIGHT:
                    busy[worker] += 1
                    part = waiting.popleft()
                    running[getattr(worker, method).remote(wanted[part])] = (worker, part)
            (ended, *_), _ = self._ray.wait(list(running))
            worker, part = running.pop(ended)
            try:
                results[part] = self._ray.get(ended)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                waiting.appendleft(part)
                self._lose(worker, error)
        return results

    def _lose(self, worker: Any, error: Exception) -> None:
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        if not self._workers:
            raise ClusterLostError(
                f"The last worker of the Ray cluster has gone: {first_line(error)}. When the cluster is back, or with "
                "another --engine, lab run --resume FOLDER goes on from the last saved round."
            )
        log.warning(
            "A worker of the Ray cluster has gone (%s). Workers that go on: %d.", first_line(error), len(self._workers)
        )


def _check_equal(built: Sequence[BuiltEngine]) -> None:
    """Raise ``SettingError`` if workers would not compute what this machine computes."""
    here = versions()
    for there in (one.versions for one in built):
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) != there.get(name):
                raise SettingError(
                    f"A machine of the Ray cluster has {name} {there.get(name, 'none')}, this one has "
                    f"{here.get(name, 'none')}. Results would differ: install the same on all."
                )
    words = sorted({one.words for one in built})
    if len(words) > 1:
        raise SettingError(f"The machines of the Ray cluster train in different ways: {'; '.join(words)}.")
