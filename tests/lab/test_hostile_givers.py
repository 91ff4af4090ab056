"""What the peer of a hostile cart receives in a run of two carts, for each kind of attack."""

import numpy as np
import pytest

from child_cart.db.records import Origin
from child_cart.db.store import is_held_out
from child_cart.learning.sharing import Sharing
from child_cart.model.precision import Precision, as_sent
from lab.carts.hostile import SENDING
from lab.carts.relay import MemoryRelay
from lab.conditions.attacks import KINDS, Sight, SignFlip
from lab.runs.experiment import Experiment
from tests.lab.recording_engine import RecordingEngine
from tests.lab.test_lab_runs import config_of
from tests.support.carts.light_task import LightTask, SoftmaxRegression

ROUNDS = 3


class ThreeLayers(SoftmaxRegression):
    """Has two more layers that are carried along, so that there are units which can sleep."""

    def __init__(self):
        super().__init__()
        random = np.random.default_rng(6)
        self._weights += [random.standard_normal(shape, np.float32) for shape in ((3, 4), (4, 2))]

    def train(self, inputs, targets, report):
        super().train(inputs, targets, report)
        self._weights[2] += np.float32(0.25)
        self._weights[3] -= np.float32(0.5)


class ThreeLayerTask(LightTask):
    def build_learner(self):
        return ThreeLayers()


class Run:
    """A run of two carts, of which one is hostile, with all that was trained and received."""

    def __init__(self, monkeypatch, kind):
        self.engine = RecordingEngine(ThreeLayers)
        self.received = {}
        self._spy(monkeypatch)
        # No rows are rehearsed, so that a training is known by its rows.
        config = config_of(carts=2, rows=20, rounds=ROUNDS, topology="full", hostile=f"0.5:{kind}", rehearsal_rows="0")
        self.seed = config.lab.seed
        with Experiment(config, None, ThreeLayerTask()) as experiment, np.errstate(all="ignore"):
            results = list(experiment.rounds())
            (self.hostile,) = [cart.cart for cart in results[0].carts if cart.hostile]
            self.honest = 1 - self.hostile
            self.came = {
                cart: [experiment.data.rows_of(cart, number) for number in range(1, ROUNDS + 1)] for cart in range(2)
            }

    def _spy(self, monkeypatch):
        fetch = MemoryRelay.fetch

        async def fetched(relay, receiver, giver, wants):
            found = await fetch(relay, receiver, giver, wants)
            key = (relay.round_number, relay._numbers[giver])
            self.received[key] = found.offer.model_version, relay._files.payload(found.path, 1 << 20)
            return found

        monkeypatch.setattr(MemoryRelay, "fetch", fetched)
        monkeypatch.setattr("lab.runs.experiment.engine_for", lambda *_: (self.engine, "recording"))

    def training(self, cart, number, change=lambda rows: rows):
        """Return the first training on a cart's rows of a round, and its result."""
        first = 20 * (number - 1) + 1
        rows = [row for place, row in enumerate(self.came[cart][number - 1], first) if not is_held_out(place)]
        inputs, targets = LightTask().arrays(change(rows))
        for commands, results in zip(self.engine.trained, self.engine.results, strict=True):
            for command, result in zip(commands, results, strict=True):
                if np.array_equal(command.inputs, inputs) and np.array_equal(command.targets, targets):
                    return command, result
        raise AssertionError(f"Cart {cart} has not trained on its rows of round {number}.")


def flipped(rows):
    return [{**row, "third": 2 - row["third"]} for row in rows]


def as_received(weights):
    return [np.asarray(array, np.float32) for array in as_sent(weights, Precision.HALF)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "absent"])  # an absent cart gives nothing
def test_a_peer_receives_what_the_attack_makes_of_the_trained_model(monkeypatch, kind):
    run = Run(monkeypatch, kind)
    attack = KINDS[kind]()
    differs = 0
    for number in range(1, ROUNDS + 1):
        command, own = run.training(run.hostile, number, flipped if kind == "label-flip" else lambda rows: rows)
        _, honest = run.training(run.honest, number)
        version, received = run.received[number, run.hostile]
        random = np.random.default_rng([run.seed, SENDING, version, run.hostile])
        wanted = as_received(attack.weights(own, Sight(command.weights, [honest], random)))
        for array, expected in zip(received, wanted, strict=True):
            assert array.dtype == np.float32
            assert np.array_equal(array, expected, equal_nan=True)
        differs += not all(map(np.array_equal, received, as_received(own)))
        assert all(map(np.array_equal, run.received[number, run.honest][1], as_received(honest)))
    # A flipped label is sent as it was learned, and the first model of a stale cart is its own.
    assert differs == {"label-flip": 0, "stale": ROUNDS - 1}.get(kind, ROUNDS)


def test_a_peer_that_asks_late_receives_what_the_attack_makes_of_a_training_and_not_of_an_average(monkeypatch):
    engine, received = RecordingEngine(), {}
    fetch, offer = MemoryRelay.fetch, Sharing.offer
    late = []

    async def fetched(relay, receiver, giver, wants):
        found = await fetch(relay, receiver, giver, wants)
        payload = relay._files.payload(found.path, 1 << 20)
        received.setdefault((relay.round_number, relay._numbers[giver]), []).append(payload)
        return found

    async def offered(sharing, codecs):
        late.append(sharing._versions.newest.origin is Origin.AGGREGATED)
        return await offer(sharing, codecs)

    monkeypatch.setattr(MemoryRelay, "fetch", fetched)
    monkeypatch.setattr(Sharing, "offer", offered)
    monkeypatch.setattr("lab.runs.experiment.engine_for", lambda *_: (engine, "recording"))
    config = config_of(carts=6, rounds=ROUNDS, delay=3.0, hostile="0.34:sign-flip")
    with Experiment(config) as experiment:
        results = list(experiment.rounds())
    trained = [
        as_received(SignFlip().weights(after, Sight(command.weights, [], np.random.default_rng(0))))
        for commands, made in zip(engine.trained, engine.results, strict=True)
        for command, after in zip(commands, made, strict=True)
    ]
    hostile = {cart.cart for cart in results[0].carts if cart.hostile}
    given = [payload for (_, giver), payloads in received.items() if giver in hostile for payload in payloads]
    assert any(late)
    assert given
    assert all(any(all(map(np.array_equal, payload, one)) for one in trained) for payload in given)


def test_two_peers_and_a_second_question_get_the_same_model(monkeypatch):
    received = {}
    fetch = MemoryRelay.fetch

    async def fetched(relay, receiver, giver, wants):
        found = await fetch(relay, receiver, giver, wants)
        received.setdefault((relay.round_number, relay._numbers[giver]), []).append(found.offer.digest)
        return found

    monkeypatch.setattr(MemoryRelay, "fetch", fetched)
    with Experiment(config_of(carts=3, rounds=2, topology="full", hostile="0.34:noise")) as experiment:
        results = list(experiment.rounds())
    (hostile,) = [cart.cart for cart in results[0].carts if cart.hostile]
    first, second = received[1, hostile], received[2, hostile]
    assert len(first) == len(second) == 2
    assert len(set(first)) == len(set(second)) == 1
    assert first[0] != second[0]
