"""Personal layers are trained and kept with a cart's versions, never sent, and never changed by what comes."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from child_cart.model.arrays import specs_of
from child_cart.model.codec import decode, encode
from child_cart.model.keras_learner import KerasLearner
from child_cart.model.layout import Layout
from child_cart.model.model_files import DISK
from child_cart.model.partition import Partition
from child_cart.model.personal_layers import completed, personal_in, sent_part, shared_part
from child_cart.model.precision import Precision, payload_of
from child_cart.model.task import KerasTask, TaskError
from child_cart.model.trainer import MixingRule, Offered, Stored
from child_cart.model.trainer_commands import TrainerCommands, model_signature
from child_cart.model.trial import try_task
from child_cart.model.weights_file import WeightsError, read_weights, stored_arrays
from child_cart.model.worker import Worker

RANDOM = np.random.default_rng(4)
ROWS = [{"x": x.tolist(), "yes": float(x[0] > 0)} for x in RANDOM.normal(size=(64, 3))]
BODY, HEAD = (0, 1, 4, 5), (2, 3)


class Personal(KerasTask):
    """A model whose head is the cart's own; the head is in the middle of the arrays."""

    name, epochs, batch_size, personal_layers, dtype = "personal", 3, 16, ("head",), "float32"

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def build_model(self):
        import keras

        layers = [
            keras.layers.Dense(8, "relu", name="body", dtype=self.dtype),
            keras.layers.Dense(4, "relu", name="head", dtype=self.dtype),
            keras.layers.Dropout(0.1, name="drop"),
            keras.layers.Dense(1, "sigmoid", name="end", dtype=self.dtype),
        ]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile(optimizer=keras.optimizers.Adam(0.05), loss="binary_crossentropy")
        return model

    def parse_row(self, fields):
        return dict(fields)

    def arrays(self, rows):
        x = np.array([row["x"] for row in rows], np.float32).reshape(-1, 3)
        return x, np.array([row["yes"] for row in rows], np.float32)

    def evaluation_rows(self):
        return ROWS[:16]


class Cart:
    """A trainer of a task, with a version that it has trained."""

    def __init__(self, folder, **attributes):
        task = Personal(**attributes)

        def commands(initial, metric, layout):
            self.layout, self.start = layout, initial
            return TrainerCommands(task, Partition(), None, 0, initial, metric, layout, DISK)

        folder.mkdir()
        self.folder, self.worker = folder, Worker(task, commands)
        self.initial = self.carry_out("initialise", folder / "0.h5")
        self.base = self.stored("0.h5", self.initial)

    def carry_out(self, name, target, **arguments):
        return self.worker.carry_out(name, {**arguments, "target": str(target)}, lambda _: None)

    def stored(self, name, result):
        return {"path": str(self.folder / name), "digest": result["digest"]}

    def named(self):
        return Stored(Path(self.base["path"]), self.base["digest"])

    def train(self, rows=ROWS):
        result = self.carry_out("train", self.folder / "1.h5", base=self.base, rows=rows, own_rows=[])
        self.base = self.stored("1.h5", result)
        return self.weights()

    def weights(self, stored=None):
        stored = stored or self.base
        return read_weights(stored["path"], stored["digest"])

    def payload(self):
        return payload_of(sent_part(self.weights(), stored_arrays(self.base["path"])), Precision.FULL)


@pytest.fixture
def cart(tmp_path):
    return Cart(tmp_path / "cart")


def same(ones, others, places):
    return all(np.array_equal(ones[place], others[place]) for place in places)


def test_personal_arrays_are_trained_and_stored_and_never_sent(cart):
    trained = cart.train()
    assert len(trained) == 6
    assert not any(np.array_equal(one, other) for one, other in zip(trained, cart.start, strict=True))
    assert personal_in(stored_arrays(cart.base["path"])) == dict.fromkeys(HEAD, "head")
    sent = decode(cart.payload(), 10_000)
    assert specs_of(sent) == specs_of([trained[place] for place in BODY])
    assert same([sent[0], sent[1], None, None, sent[2], sent[3]], trained, BODY)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mix_and_a_model_taken_over_keep_the_own_personal_arrays(tmp_path, dtype):
    cart, peer = Cart(tmp_path / "cart", dtype=dtype), Cart(tmp_path / "peer", dtype=dtype)
    theirs, start = peer.train(ROWS[:20]), cart.base
    (tmp_path / "payload").write_bytes(peer.payload())
    path = str(tmp_path / "payload")
    adopted = cart.carry_out("adopt", tmp_path / "a.h5", base=start, path=path)
    taken_over = read_weights(tmp_path / "a.h5", adopted["written"]["digest"])
    assert same(taken_over, theirs, BODY)
    assert same(taken_over, cart.start, HEAD)
    own = cart.train()
    rule = MixingRule("uniform", 0.5, (cart.named(), Stored(Path(start["path"]), start["digest"]))).named()
    base, received = {**cart.base, "samples": 1}, [Offered(Path(path), 1).named()] * 2
    mixed = cart.carry_out("mix", tmp_path / "m.h5", base=base, received=received, own_rows=[], **rule)
    merged = read_weights(tmp_path / "m.h5", mixed["written"]["digest"])
    assert personal_in(stored_arrays(tmp_path / "m.h5")) == dict.fromkeys(HEAD, "head")
    assert same(merged, own, HEAD)  # bit for bit
    for place in BODY:
        mean, step = (own[place] + 2 * theirs[place]) / 3, own[place] - cart.start[place]
        assert np.allclose(merged[place], mean + step / 2, atol=1e-6)


def test_a_received_model_is_measured_with_the_own_personal_arrays(cart, tmp_path):
    peer = Cart(tmp_path / "peer")
    peer.train()
    (tmp_path / "payload").write_bytes(peer.payload())
    own = cart.train(ROWS[:10])
    score = cart.worker.carry_out("score", {"base": cart.base, "path": str(tmp_path / "payload")}, lambda _: None)
    theirs = peer.weights()
    learner = Personal().build_learner()
    learner.set_weights([own[place] if place in HEAD else theirs[place] for place in range(6)])
    x, targets = Personal().arrays(ROWS[:16])
    assert score["value"] == np.mean((learner.predict(x)[:, 0] > 0.5) == targets)


@pytest.mark.parametrize("places", [(), BODY[:3], (*BODY, 2), range(6)])
def test_a_payload_with_other_arrays_is_dropped(cart, tmp_path, places):
    weights = cart.weights()
    sent = [weights[place] for place in places]
    (tmp_path / "payload").write_bytes(encode(sent))
    score = cart.worker.carry_out("score", {"base": cart.base, "path": str(tmp_path / "payload")}, lambda _: None)
    assert score == {"reason": "WRONG_SHAPE"}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras
def test_an_export_holds_the_personal_arrays(cart, tmp_path):
    import keras

    trained = cart.train()
    cart.carry_out("export", tmp_path / "model.keras", base=cart.base, kind="keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    assert same(model.get_weights(), trained, range(6))
    with h5py.File(cart.base["path"]) as exported:  # as the HDF5 file is given
        assert len(exported["weights"]) == 6


def test_the_signature_says_which_layers_are_personal():
    signatures = set()
    for layers in ((), ("head",), ("body",), ("body", "head")):
        learner = Personal(personal_layers=layers).build_learner()
        assert len(learner.weights()) == 6
        signatures.add(model_signature("task", learner.weights(), learner.layout))
    assert len(signatures) == 4
    weights = [np.zeros(2), np.zeros(2)]
    one, other = (Layout(personal={1: name}) for name in ("one", "other"))
    assert model_signature("task", weights, one) != model_signature("task", weights, other)


def test_a_stored_model_with_other_personal_layers_is_not_gone_on_with(cart, tmp_path):
    other = Cart(tmp_path / "other", personal_layers=())
    with pytest.raises(WeightsError, match=r"other personal layers than the task's\. Reset"):
        other.carry_out("train", tmp_path / "1.h5", base=cart.base, rows=ROWS, own_rows=[])


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (("hed",), "names 'hed', but the layers that are trained are 'body', 'head', 'end'."),
        (("drop",), "names 'drop', but the layers that are trained are"),
        (("end", "body", "head"), r"names all layers that are trained \('end', 'body', 'head'\), so nothing"),
        ("head", r"is 'head', and must be a tuple of names, such as \('head',\)"),
    ],
)
def test_wrong_names_are_told(layers, sentence):
    with pytest.raises(TaskError, match=f"personal_layers {sentence}"):
        Personal(personal_layers=layers).build_learner()


def test_a_layer_of_layers_is_personal_as_a_whole():
    import keras

    def learner(*names):
        block = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="inner")], name="block")
        model = keras.Sequential([keras.Input((3,)), block, keras.layers.BatchNormalization(name="normal")])
        model.compile(optimizer="sgd", loss="mse")
        return KerasLearner(model, 1, 8, 1, personal_layers=names)

    assert learner("block").layout.personal == {0: "block", 1: "block"}
    assert set(learner("normal").layout.personal) == {2, 3, 4, 5}  # its statistics, too
    with pytest.raises(TaskError, match="which is within another layer that it names: leave it out"):
        learner("block", "inner")


def test_a_trial_sends_what_a_cart_sends(cart):
    report = try_task(cart.worker, ROWS[:16])
    assert report.dropped == ""
    assert report.sent_bytes[Precision.FULL] == len(cart.payload())
    assert len(report.weights) == 6


def test_parts_come_together_again():
    whole = [np.full(2, place) for place in range(5)]
    for personal in ((), (0,), (4,), (0, 1, 4), (1, 3)):
        mixed = completed(shared_part([array + 10 for array in whole], personal), whole, personal)
        assert [int(array[0]) % 10 for array in mixed] == [0, 1, 2, 3, 4]
        assert [place for place, array in enumerate(mixed) if array[0] < 10] == list(personal)
