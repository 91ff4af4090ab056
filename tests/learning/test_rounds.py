"""The story of a round on a real store, over a real bridge, with real peers; only the training is a stand-in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.bridges.in_process import Bridge, running_bridge, until
from support.carts.fake_trainer import FakeTrainer
from support.carts.light_task import LightTask
from support.carts.node import SIGNATURE, Node, model_of, running
from support.processes.mongod import Mongod, need_mongod

from cart_common.wire.messages import Role
from child_cart.cart import build
from child_cart.config import CartSettings
from child_cart.db.records import Origin, Outcome, RoundRecord, Sale, SetAsideRow
from child_cart.learning.activity import Stage
from child_cart.learning.collection import KnownModels
from child_cart.model.trainer import Judged, Trained, TrainerError
from child_cart.network.handshake import Standing
from child_cart.network.link_state import LinkState
from child_cart.transfers.outgoing import Offerable


class Learner:
    """A cart as ``build`` wires it, with a stand-in for its training."""

    def __init__(self, url: str, folder: Path, **settings: object) -> None:
        data = folder / "learner"
        data.mkdir(exist_ok=True)
        soon = {
            "dataset_size": 10,
            "cluster_wait_s": 0.2,
            "join_wait_s": 0.2,
            "answer_timeout_s": 5.0,
            "give_again_s": 0,
        }
        links = {"reconnect_first_s": 0.01, "reconnect_cap_s": 0.05, "stall_timeout_s": 5.0, "resume_timeout_s": 20.0}
        self.trainer = FakeTrainer()
        self.parts = build(CartSettings(bridge=url, **soon | links | settings), LightTask(), data, self.trainer)
        self.store, self.book = self.parts.local.store, self.parts.local.book
        self.versions, self.activity = self.parts.local.versions, self.parts.local.activity
        self.id = self.parts.local.identity.cart_id.hex()
        self.link, self.exchange = self.parts.network.link, self.parts.network.exchange
        self.sharing, self.rounds = self.parts.network.sharing, self.parts.learning.rounds
        self.link.announce(Standing(Role.SHELL, SIGNATURE, 0))  # it may attach before its model is known
        self._incoming = data / "incoming"

    @property
    def spooled(self) -> list[Path]:
        return list(self._incoming.iterdir())

    def close(self) -> None:
        self.parts.shop.reader.close()
        self.store.close()

    def add_rows(self, count: int) -> None:
        batch = f"batch-{self.store.row_count()}"
        first = self.store.row_count()
        self.store.record_rows(batch, [{"n": first + place + 1} for place in range(count)])
        self.rounds.wake.set()

    def sell(self, sale_id: str, lines: int) -> None:
        sale = Sale(sale_id, time.time(), "2026-07-31", 0, (), 0)
        self.store.record_sale(sale, [{"n": place} for place in range(lines)])
        self.rounds.wake.set()

    @asynccontextmanager
    async def learning(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:  # a failure in one ends the test at once
            task = group.create_task(self.parts.learning.lifecycle.run())
            try:
                yield
            finally:
                task.cancel()

    def last_round(self) -> RoundRecord | None:
        return next(iter(self.store.rounds(1)), None)

    def ended(self, number: int) -> bool:
        last = self.last_round()
        return last is not None and last.number == number and last.outcome is not None


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    # Without the blocking detector: these tests look into the store from the loop themselves.
    async with running_bridge() as running_one:
        yield running_one


def peers(bridge: Bridge, tmp_path: Path, *payloads: str) -> list[Node]:
    return [Node(bridge.url, tmp_path, model_of(text.encode(), codec="float16")) for text in payloads]


@pytest.fixture
async def learner(bridge: Bridge, tmp_path: Path) -> AsyncIterator[Learner]:
    made = Learner(bridge.url, tmp_path)
    yield made
    made.close()


async def test_a_whole_round(bridge: Bridge, learner: Learner, tmp_path: Path) -> None:
    given = peers(bridge, tmp_path, "0.5", "0.1", "NOT_FINITE")
    async with running(learner, *given), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        assert learner.versions.newest.origin is Origin.STARTER
        learner.add_rows(25)
        await until(lambda: learner.ended(1))
        await until(lambda: learner.sharing.role is Role.SHELL)
    last = learner.last_round()
    assert last.outcome is Outcome.AGGREGATED
    assert {verdict.peer: verdict.reason for verdict in last.verdicts} == {
        given[0].id: "ACCEPTED",
        given[1].id: "TOO_WEAK",
        given[2].id: "NOT_FINITE",
    }
    assert last.rows == 23
    assert [row["n"] for row in learner.trainer.trained_on] == [n for n in range(1, 26) if n % 10]
    assert [v.origin for v in learner.store.versions(9)][:3] == [Origin.AGGREGATED, Origin.LOCAL, Origin.STARTER]
    assert learner.store.waiting_count() == 0
    assert last.new_value == pytest.approx((last.local_value + 0.5) / 2)
    assert learner.spooled == []
    assert {"training", "clustering", "collecting", "averaging"} == last.phase_s.keys()


async def test_rows_that_spoil_a_training_are_set_aside_and_never_come_back(learner: Learner) -> None:
    async with running(learner), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.store.record_rows("b", [{"n": n, "bad": True} if n in (3, 20) else {"n": n} for n in range(1, 25)])
        learner.rounds.wake.set()
        await until(lambda: learner.ended(1))
        assert learner.last_round().rows == 21
        assert [row["n"] for row in learner.trainer.trained_on] == [n for n in range(1, 25) if n % 10 and n != 3]
        found = learner.store.set_aside_rows(9)
        assert [(row.sequence, row.row["n"], row.reason) for row in found] == [
            (20, 20, "it is bad"),
            (3, 3, "it is bad"),
        ]
        said = "Set aside, since no training takes them: row 3: it is bad; row 20: it is bad."
        assert said in [event.text for event in learner.activity.events()]
        learner.parts.learning.lifecycle.ask_reset()
        await until(lambda: learner.store.rounds(1) == [])
        learner.trainer.trained_on.clear()
        await until(lambda: learner.ended(1))
        assert not [row for row in learner.trainer.trained_on if "bad" in row]
        assert learner.last_round().rows == 21


@pytest.mark.parametrize("backend", ["embedded", "mongodb"])
async def test_a_training_takes_rows_of_earlier_rounds_again_and_spends_none_twice(
    bridge: Bridge, tmp_path: Path, backend: str
) -> None:
    with ExitStack() as stack:
        store = {}
        if backend == "mongodb":
            need_mongod()
            store = {"store": stack.enter_context(Mongod(tmp_path / "mongod")).url("cart")}
        learner = Learner(bridge.url, tmp_path, rehearsal_rows=7, sharing="off", **store)
        stack.callback(learner.close)
        trainer = learner.trainer
        async with running(learner):
            async with learner.learning():
                await until(lambda: learner.activity.stage is Stage.SERVING)
                for number in (1, 2):
                    learner.add_rows(20)
                    await until(lambda number=number: learner.ended(number))
                assert trainer.rehearsed[0] == [], "nothing is old yet"
                assert [row["n"] for row in trainer.trained_on] == [n for n in range(1, 41) if n % 10]
                # One that spoils the next training, though none before.
                learner.store.set_aside([SetAsideRow(3, {"n": 3}, "it is bad", 1.0)])
                trainer.failing = {"train"}
                learner.add_rows(20)
                await until(lambda: learner.ended(3))
            trainer.failing = set()
            async with learner.learning():  # a cart that was stopped before the commit point
                await until(lambda: learner.ended(4))
        assert len(trainer.rehearsed[1]) == len(trainer.rehearsed[2]) == 7
        assert {row["n"] for row in trainer.rehearsed[1]} <= {n for n in range(1, 21) if n % 10}
        assert {row["n"] for row in trainer.rehearsed[2]} <= {n for n in range(1, 41) if n % 10 and n != 3}
        assert [row["n"] for row in trainer.trained_on] == [n for n in range(1, 61) if n % 10], "each once"
        assert [learner.last_round().rows, learner.versions.newest.samples] == [18, 5 + 54]
        assert learner.versions.newest.trained_to == 60


async def test_an_old_row_that_spoils_a_training_is_set_aside(learner: Learner, bridge: Bridge, tmp_path: Path) -> None:
    async with running(learner), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
        rows = [entry.row for entry in learner.store.spent_rows([4])]
        assert rows == [{"n": 4}]
        learner.trainer.bad_old = {4}
        learner.add_rows(10)
        await until(lambda: learner.ended(2))
        assert [(row.sequence, row.reason) for row in learner.store.set_aside_rows(9)] == [(4, "it is bad")]
        assert learner.last_round().rows == 9
        learner.add_rows(10)
        await until(lambda: learner.ended(3))
    assert 4 in [row["n"] for row in learner.trainer.rehearsed[1]]
    assert 4 not in [row["n"] for row in learner.trainer.rehearsed[2]]


async def test_labels_are_asked_for_instead_of_old_rows_and_no_more_than_the_model_has_learned_from(
    bridge: Bridge, tmp_path: Path
) -> None:
    learner = Learner(bridge.url, tmp_path, rehearsal="labels", rehearsal_rows=20, sharing="off")
    async with running(learner), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        for number in (1, 2):
            learner.add_rows(20)
            await until(lambda number=number: learner.ended(number))
    assert learner.trainer.rehearsed == [[], []]
    assert learner.trainer.labelled == [5, 20], "five starter rows"
    learner.close()


async def test_no_row_is_taken_again_where_that_is_off(bridge: Bridge, tmp_path: Path) -> None:
    learner = Learner(bridge.url, tmp_path, rehearsal_rows=0, sharing="off")
    async with running(learner), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        for number in (1, 2):
            learner.add_rows(20)
            await until(lambda number=number: learner.ended(number))
    assert learner.trainer.rehearsed == [[], []]
    assert learner.trainer.labelled == [0, 0]
    learner.close()


async def test_one_long_bill_begins_no_round(bridge: Bridge, tmp_path: Path) -> None:
    learner = Learner(bridge.url, tmp_path, dataset_size=40)
    async with running(learner), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.sell("flood", 60)
        await until(lambda: any("of too few sales" in event.text for event in learner.activity.events()))
        assert learner.last_round() is None
        for number in range(8):
            learner.sell(f"s{number}", 4)
        await until(lambda: learner.ended(1))
        await until(lambda: learner.sharing.role is Role.SHELL)
    last = learner.last_round()
    assert last is not None
    assert last.rows < 45, "of the long bill a tenth of all rows, and what came meanwhile"
    learner.store.close()


async def test_rows_below_dataset_size_wait_until_training_is_asked_for(learner: Learner) -> None:
    async with running(learner), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.add_rows(9)
        await asyncio.sleep(0.05)
        assert learner.last_round() is None
        learner.rounds.ask_training()
        await until(lambda: learner.ended(1))
        assert learner.store.waiting_count() == 0
        learner.rounds.ask_training()
        await until(lambda: any("no rows wait" in event.text for event in learner.activity.events()))


async def test_a_round_without_peers_says_so_and_keeps_what_was_trained(learner: Learner) -> None:
    async with running(learner), learner.learning():
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
        assert learner.last_round().outcome is Outcome.NOT_ENOUGH_PEERS
        assert "0 other carts" in learner.last_round().sentence
        assert learner.versions.newest.origin is Origin.LOCAL
        learner.add_rows(10)
        await until(lambda: learner.ended(2))
        assert len(learner.trainer.trained_on) == 18


async def test_while_sharing_is_paused_a_round_ends_with_the_training(
    bridge: Bridge, learner: Learner, tmp_path: Path
) -> None:
    learner.book.change("sharing", "off")
    async with running(*peers(bridge, tmp_path, "0.5", "0.6"), learner), learner.learning():
        learner.add_rows(20)
        await until(lambda: learner.ended(1))
        assert learner.last_round().outcome is Outcome.SHARING_PAUSED
        assert learner.last_round().local_version == learner.versions.newest.number
        assert (learner.last_round().cluster_id, learner.last_round().verdicts) == ("", ())
        learner.book.change("sharing", "on")
        learner.add_rows(20)
        await until(lambda: learner.ended(2))
        assert learner.last_round().outcome is Outcome.AGGREGATED


async def test_a_round_waits_for_peers_that_come_later(bridge: Bridge, tmp_path: Path) -> None:
    learner = Learner(bridge.url, tmp_path, cluster_wait_s=30)
    (late,) = peers(bridge, tmp_path, "0.5")
    async with running(learner), learner.learning():
        learner.add_rows(10)
        await until(lambda: any("No cluster yet" in event.text for event in learner.activity.events()))
        assert learner.sharing.role is Role.SHELL  # it serves while it waits
        async with running(late):
            await until(lambda: learner.ended(1))
    assert learner.last_round().outcome is Outcome.AGGREGATED
    learner.store.close()


async def test_a_round_without_a_bridge_says_so(tmp_path: Path) -> None:
    learner = Learner("ws://127.0.0.1:9", tmp_path)
    async with learner.learning():
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
    assert learner.last_round().outcome is Outcome.BRIDGE_AWAY
    learner.store.close()


async def test_peers_that_fail_are_verdicts_not_errors(bridge: Bridge, learner: Learner, tmp_path: Path) -> None:
    silent, gone = Node(bridge.url, tmp_path), Node(bridge.url, tmp_path, model_of(b"0.5", codec="float16"))
    gone.wire.pass_message = lambda message: False
    learner.book.change("answer_timeout_s", 0.1)
    learner.book.change("stall_timeout_s", 0.1)
    async with running(learner, silent, gone), learner.learning():
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
    reasons = {verdict.peer: verdict.sentence for verdict in learner.last_round().verdicts}
    assert learner.last_round().outcome is Outcome.NONE_ACCEPTED
    assert "NO_MODEL" in reasons[silent.id]
    assert "TIMED_OUT" in reasons[gone.id]


@pytest.mark.parametrize("whose", ["its own", "the peer's"])
async def test_a_link_that_breaks_before_any_answer_costs_no_round(
    bridge: Bridge, learner: Learner, tmp_path: Path, whose: str
) -> None:
    (slow,) = peers(bridge, tmp_path, "0.5")
    answers, asked = asyncio.Event(), asyncio.Event()

    async def hesitate(codecs: tuple[str, ...]) -> Offerable | None:
        asked.set()
        await answers.wait()
        return slow.model

    slow.offer = hesitate  # type: ignore[method-assign]
    learner.book.change("cluster_wait_s", 5)
    async with running(learner, slow), learner.learning():
        answers.set()  # joining asks, too
        await until(lambda: learner.versions.current and learner.activity.stage is Stage.SERVING)
        answers.clear()
        asked.clear()
        learner.add_rows(10)
        await asked.wait()
        victim = learner if whose == "its own" else slow
        bridge.relay._connections[victim.id].abort()
        await until(lambda: victim.link.status.state is not LinkState.ATTACHED)
        answers.set()
        await until(lambda: learner.ended(1))
    record = learner.last_round()
    assert record is not None
    assert record.outcome is Outcome.AGGREGATED
    assert [verdict.reason for verdict in record.verdicts] == ["ACCEPTED"]


@pytest.mark.parametrize("command", ["train", "score", "mix"])
async def test_a_failing_trainer_costs_the_round_and_no_rows(
    bridge: Bridge, learner: Learner, tmp_path: Path, command: str
) -> None:
    given = peers(bridge, tmp_path, "0.5", "0.45")
    async with running(learner, *given), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.trainer.failing = {command}
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
        assert learner.last_round().outcome is Outcome.TRAINER_FAILED
        assert learner.activity.trouble == learner.last_round().sentence
        await until(lambda: learner.spooled == [])
        learner.trainer.failing = set()
        learner.add_rows(10)
        await until(lambda: learner.ended(2) or learner.ended(3))
        await until(lambda: not learner.activity.trouble)
    assert [row["n"] for row in learner.trainer.trained_on] == [n for n in range(1, 21) if n % 10]
    assert learner.store.waiting_count() == 0
    assert learner.last_round().outcome is Outcome.AGGREGATED


async def test_a_cart_killed_after_its_training_goes_on_with_the_round(
    bridge: Bridge, learner: Learner, tmp_path: Path
) -> None:
    given = peers(bridge, tmp_path, "0.5")
    async with running(learner, *given):
        async with learner.learning():
            await until(lambda: learner.activity.stage is Stage.SERVING)
            learner.trainer.failing = set()
            learner.add_rows(10)
            await until(lambda: learner.last_round() and learner.last_round().local_version is not None)
            learner.trainer.hold.clear()  # the next command never ends: the cart is stopped in the middle
        if learner.last_round().outcome is None:
            learner.trainer.hold.set()
            async with learner.learning():
                await until(lambda: learner.ended(1))
    assert learner.last_round().outcome is Outcome.AGGREGATED
    assert len(learner.trainer.trained_on) == 9


@pytest.mark.parametrize(("origin", "outcome"), [(None, Outcome.INTERRUPTED), (Origin.AGGREGATED, Outcome.AGGREGATED)])
async def test_records_that_a_killed_process_left_open_are_closed(learner: Learner, origin, outcome) -> None:
    async with running(learner):
        async with learner.learning():
            await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.store.save_round(RoundRecord("id", 1, 1.0))
        if origin is not None:
            target = learner.versions.new_target()
            target.write_text("0.4")
            learner.versions.add(origin, target, Trained("digest", 0.4, {}), round_number=1)
        async with learner.learning():
            await until(lambda: learner.ended(1))
            assert learner.last_round().outcome is outcome
            learner.add_rows(10)
            await until(lambda: learner.ended(2))


async def test_a_cart_killed_right_after_the_commit_point_goes_on(
    bridge: Bridge, learner: Learner, tmp_path: Path
) -> None:
    given = peers(bridge, tmp_path, "0.5")
    async with running(learner, *given):
        async with learner.learning():
            await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.add_rows(10)
        learner.store.save_round(RoundRecord("id", 1, 1.0))  # its record does not know of the training yet
        target = learner.versions.new_target()
        target.write_text("0.4")
        learner.versions.add(Origin.LOCAL, target, Trained("digest", 0.4, {}, rows=9), 10, round_number=1)
        async with learner.learning():
            await until(lambda: learner.ended(1))
    assert learner.last_round().outcome is Outcome.AGGREGATED
    assert learner.last_round().local_value == 0.4
    assert learner.trainer.trained_on == []


async def test_a_new_cart_takes_over_the_best_model_of_its_peers(
    bridge: Bridge, learner: Learner, tmp_path: Path
) -> None:
    given = peers(bridge, tmp_path, "0.5", "0.8", "BAD_PAYLOAD")
    async with running(learner, *given), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        origins = [(version.origin, version.value) for version in learner.store.versions(9)]
    assert origins == [(Origin.STARTER, 0.3), (Origin.JOINED, 0.8), (Origin.INITIAL, None)]
    assert learner.spooled == []


async def test_preparing_is_tried_again_until_the_trainer_works(learner: Learner, monkeypatch) -> None:
    monkeypatch.setattr("child_cart.learning.bootstrap.RETRY_FIRST_S", 0.01)
    learner.trainer.failing = {"initialise"}
    async with running(learner), learner.learning():
        await until(lambda: any("not ready" in event.text for event in learner.activity.events()))
        learner.trainer.failing = {"start"}
        await until(lambda: learner.versions.current is not None)
        learner.trainer.failing = set()
        await until(lambda: learner.activity.stage is Stage.SERVING)


async def test_a_mix_that_is_worse_is_not_kept_and_the_round_says_so(
    bridge: Bridge, learner: Learner, tmp_path
) -> None:
    learner.trainer.keeping_own = True
    async with running(learner, *peers(bridge, tmp_path, "0.2", "0.3")), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
    last = learner.last_round()
    assert last.outcome is Outcome.KEPT_OWN
    assert (last.new_version, last.new_value < last.local_value) == (None, True)
    assert f"{last.local_value:.3f} → {last.new_value:.3f}" in last.sentence
    assert learner.versions.newest.origin is Origin.LOCAL


async def test_a_round_in_which_no_model_takes_part_keeps_the_own_one(bridge, learner, tmp_path) -> None:
    learner.trainer.keeping_own, learner.trainer.leaving_out = True, {0.2, 0.3}
    async with running(learner, *peers(bridge, tmp_path, "0.2", "0.3")), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
    last = learner.last_round()
    assert (last.outcome, last.new_version) == (Outcome.KEPT_OWN, None)
    assert last.sentence == "The cart's own model is better than a mix with any of the 2 peers."


async def test_a_training_that_ruins_the_model_is_not_kept_and_its_rows_are_spent(bridge, learner, tmp_path) -> None:
    learner.trainer.ruining = True
    async with running(learner, *peers(bridge, tmp_path, "0.4")), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        before = learner.versions.newest.value
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
    last = learner.last_round()
    assert (last.local_value, last.ruined_value, last.outcome) == (before, 0.01, Outcome.AGGREGATED)
    assert learner.store.waiting_count() == 0
    assert any("The training is not kept" in event.text for event in learner.activity.events())


async def test_a_model_that_the_mix_leaves_out_is_named(bridge: Bridge, learner: Learner, tmp_path: Path) -> None:
    learner.trainer.leaving_out = {0.35}
    given = peers(bridge, tmp_path, "0.5", "0.35")
    async with running(learner, *given), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
    last = learner.last_round()
    assert {one.peer: one.reason for one in last.verdicts} == {given[0].id: "ACCEPTED", given[1].id: "LEFT_OUT"}
    assert "Averaged with 1 of 2 peers" in last.sentence
    assert (learner.rounds.log.verdicts["ACCEPTED"], learner.rounds.log.verdicts["LEFT_OUT"]) == (1, 1)


async def test_a_stale_copy_counts_once(bridge: Bridge, learner: Learner, tmp_path: Path) -> None:
    async with running(learner, *peers(bridge, tmp_path, "0.5", "0.5")), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.add_rows(10)
        await until(lambda: learner.ended(1))
        first = learner.last_round()
        learner.add_rows(10)
        await until(lambda: learner.ended(2))
    assert sorted(one.reason for one in first.verdicts) == ["ACCEPTED", "KNOWN_ALREADY"]
    assert {one.reason for one in learner.last_round().verdicts} == {"KNOWN_ALREADY"}


async def test_momentum_has_the_starts_of_two_rounds(bridge: Bridge, tmp_path: Path) -> None:
    learner = Learner(bridge.url, tmp_path, momentum=0.5, keep_versions=2)
    given = peers(bridge, tmp_path, "0.5")
    async with running(learner, *given), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        starts = [learner.versions.stored()]
        for number in (1, 2, 3):
            learner.rounds.known = KnownModels()
            learner.add_rows(10)
            await until(lambda number=number: learner.ended(number) and learner.activity.stage is Stage.SERVING)
            starts.append(learner.versions.stored())
    learner.close()
    assert [rule.earlier for rule in learner.trainer.rules] == [None, (starts[1], starts[0]), (starts[2], starts[1])]


async def test_a_new_cart_takes_over_no_model_that_is_worse_than_none(bridge, learner, tmp_path, monkeypatch) -> None:
    async def refuse(*_: object) -> Judged:
        return Judged(None, 0.05, 0.1)

    monkeypatch.setattr(learner.trainer, "adopt", refuse)
    async with running(learner, *peers(bridge, tmp_path, "0.5")), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
    assert [version.origin for version in learner.store.versions(9)] == [Origin.STARTER, Origin.INITIAL]
    assert any("is not taken over" in event.text for event in learner.activity.events())


async def test_a_peer_that_asks_during_a_training_gets_its_result(learner: Learner) -> None:
    async with running(learner), learner.learning():
        await until(lambda: learner.activity.stage is Stage.SERVING)
        learner.trainer.hold.clear()
        learner.add_rows(10)
        await until(lambda: learner.activity.stage is Stage.TRAINING and learner.activity.epoch)
        asking = asyncio.create_task(learner.sharing.training_done(5.0))
        await asyncio.sleep(0.02)
        assert not asking.done()
        learner.trainer.hold.set()
        await asking
        assert learner.versions.newest.origin is Origin.LOCAL
        await learner.sharing.training_done(0.0)


async def test_a_search_for_peers_ends_when_the_setting_allows_fewer(bridge: Bridge, tmp_path: Path) -> None:
    learner = Learner(bridge.url, tmp_path, cluster_wait_s=60, min_peers=3)
    given = peers(bridge, tmp_path, "0.5")
    async with running(learner, *given), learner.learning():
        learner.add_rows(10)
        await until(lambda: any("No cluster yet" in event.text for event in learner.activity.events()))
        learner.book.change("min_peers", 1)
        await until(lambda: learner.ended(1))
    assert learner.last_round().outcome is Outcome.AGGREGATED
    learner.store.close()


async def test_a_failure_does_not_hide_that_the_cart_is_stopping(
    bridge: Bridge, learner: Learner, tmp_path: Path, monkeypatch
) -> None:
    scoring = asyncio.Event()

    async def fail_when_given_up(*_: object) -> None:
        scoring.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise TrainerError("The training process was given up.") from None

    async with running(learner, *peers(bridge, tmp_path, "0.5")):
        async with learner.learning():
            await until(lambda: learner.activity.stage is Stage.SERVING)
            monkeypatch.setattr(learner.trainer, "score", fail_when_given_up)
            learner.add_rows(10)
            await scoring.wait()
        assert learner.last_round().outcome is None
