"""A training is Keras': its step, its precision, its weights of rows; and what does not travel stays at the cart."""

import numpy as np
import pytest

from child_cart.model.arrays import bytes_of, specs_of
from child_cart.model.codec import decode, encode
from child_cart.model.task import KerasTask, TaskError
from child_cart.model.trainer_commands import model_signature
from child_cart.model.verdict import weights_problem
from child_cart.model.weights_file import read_weights, write_weights

X = np.random.default_rng(3).normal(size=(64, 3)).astype(np.float32)
YES = (X[:, 0] > 0).astype(np.float32)


class Small(KerasTask):
    """A task whose layers, loss and optimizer a test gives."""

    name, epochs, batch_size = "small", 4, 16

    def __init__(self, layers, loss="binary_crossentropy", optimizer=None, has_input=True, **attributes):
        self.made = layers, loss, optimizer, has_input
        vars(self).update(attributes)

    def build_model(self):
        import keras

        layers, loss, optimizer, has_input = self.made
        first = [keras.Input((3,))] if has_input else []
        model = keras.Sequential([*first, *layers(keras.layers)])
        model.compile(optimizer=optimizer() if optimizer else keras.optimizers.Adam(0.05), loss=loss)
        return model

    def arrays(self, rows):
        return np.array(rows, np.float32).reshape(-1, 3), np.zeros(len(rows))


def trained(learner, *more, targets=YES, **changes):
    losses = []
    learner.train(X, targets, lambda epoch, epochs, loss: losses.append(loss), *more, **changes)
    return losses


def column(layers):
    return [layers.Dense(8, "relu"), layers.Dense(1, "sigmoid")]


def there_and_back(learner, tmp_path):
    """Send the weights through store and wire."""
    weights = learner.weights()
    stored = read_weights(tmp_path / "1.h5", write_weights(tmp_path / "1.h5", weights))
    came = decode(encode(stored), bytes_of(specs_of(stored)))
    assert specs_of(came) == specs_of(weights)
    assert all((one == other).all() for one, other in zip(came, weights, strict=True))
    return came


@pytest.mark.parametrize(
    ("policy", "sent"), [("float64", "<f8"), ("bfloat16", "<f4"), ("float32", "<f4"), ("float16", "<f2")]
)
def test_every_precision_is_trained_stored_and_sent_as_it_is(policy, sent, tmp_path):
    import keras

    def layers(layers):
        return [layers.Dense(8, "relu", dtype=policy), layers.Dense(1, dtype=policy)]

    # Adam moves no weight in bfloat16, in Keras either: its second beta of 0.999 is 1 there.
    task = Small(layers, "mse", lambda: keras.optimizers.SGD(0.05))
    learner = task.build_learner()
    losses = trained(learner)
    assert losses[-1] < losses[0]
    assert {spec.dtype for spec in specs_of(learner.weights())} == {sent}
    other = task.build_learner()
    other.set_weights(there_and_back(learner, tmp_path))
    assert (other.predict(X) == learner.predict(X)).all()


def test_a_loss_that_half_precision_would_lose_is_scaled():
    import keras

    def faint(y_true, y_pred):
        return 1e-6 * keras.losses.mean_squared_error(y_true, y_pred)

    def layers(layers):
        return [layers.Dense(4, "tanh", dtype="mixed_float16"), layers.Dense(1, dtype="mixed_float16")]

    def optimizer():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e4), initial_scale=2.0**15)

    learner = Small(layers, faint, optimizer).build_learner()
    losses = trained(learner)
    assert losses[-1] < 0.9 * losses[0]


def test_a_model_takes_its_own_step():
    import keras
    import tensorflow as tf

    class Contrary(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(keras.losses.binary_crossentropy(1 - y[:, None], self(x, training=True)))
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"own": loss}

    class Task(Small):
        def build_model(self):
            inputs = keras.Input((3,))
            model = Contrary(inputs, keras.layers.Dense(1, "sigmoid")(inputs))
            model.compile(optimizer=keras.optimizers.Adam(0.1), loss="binary_crossentropy")
            return model

    learner = Task(column, epochs=10).build_learner()
    losses = trained(learner)
    assert losses[-1] < losses[0]
    assert learner.metric.value(learner.predict(X), YES) < 0.3


def test_rows_and_classes_count_as_the_task_says():
    wrong = np.where(np.arange(64) < 32, YES, 1 - YES)
    plain, weighted = Small(column, epochs=20).build_learner(), Small(column, epochs=20).build_learner()
    trained(plain, targets=wrong)
    trained(weighted, targets=wrong, sample_weights=(np.arange(64) < 32).astype(np.float32))
    value = weighted.metric.value(weighted.predict(X), YES)
    assert value > 0.9
    assert value > plain.metric.value(plain.predict(X), YES)
    only_yes = Small(column, epochs=20, class_weight={0: 0.0, 1: 1.0}).build_learner()
    trained(only_yes)
    assert (only_yes.predict(X) > 0.5).all()


def test_a_schedule_begins_anew_with_each_training():
    import keras

    def optimizer():
        return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 4, 0.5))

    learner = Small(column, optimizer=optimizer).build_learner()
    start = learner.weights()
    trained(learner)
    once = learner.weights()
    learner.set_weights(start)
    trained(learner)
    assert all((one == other).all() for one, other in zip(once, learner.weights(), strict=True))


def test_a_training_depends_on_weights_rows_and_seed_alone_also_with_layers_that_draw():
    learner = Small(lambda layers: [layers.Dense(8), layers.Dropout(0.5), layers.Dense(1, "sigmoid")]).build_learner()
    start = learner.weights()
    assert len(start) == 4  # the seed of the layer does not travel
    trained(learner)
    once = learner.weights()
    learner.set_weights(start)
    trained(learner)
    assert all((one == other).all() for one, other in zip(once, learner.weights(), strict=True))


def test_a_model_without_an_input_is_built_for_the_rows_of_the_task():
    learner = Small(column, has_input=False).build_learner()
    assert [array.shape for array in learner.weights()] == [(3, 8), (8,), (8, 1), (1,)]
    assert trained(learner)

    class Shapeless(Small):
        def arrays(self, rows):
            return np.array(rows), np.zeros(len(rows))

    with pytest.raises(TaskError, match=r"has no Input.*keras\.Input"):
        Shapeless(column, has_input=False).build_learner()


def signature(learner):
    return model_signature("task", learner.weights(), learner.layout)


def frozen(kernel):
    def layers(layers):
        base = layers.Dense(50, "relu", kernel_initializer=kernel, trainable=False)
        return [base, layers.Dense(1, "sigmoid")]

    return layers


def test_frozen_arrays_stay_and_other_bases_have_another_signature():
    ones, again, others = (Small(frozen(kernel)).build_learner() for kernel in ("ones", "ones", "zeros"))
    assert [array.shape for array in ones.weights()] == [(50, 1), (1,)]
    assert signature(ones) == signature(again) != signature(others)


def adapted(scale):
    def layers(layers):
        normal = layers.Normalization()
        normal.adapt(scale * X)
        return [normal, layers.Dense(1, "sigmoid")]

    return layers


@pytest.mark.parametrize("make", [adapted, lambda scale: lambda layers: [layers.Rescaling(scale), *column(layers)]])
def test_carts_that_prepare_rows_differently_have_different_signatures(make):
    one, again, other = (Small(make(scale)).build_learner() for scale in (1.0, 1.0, 9.0))
    assert signature(one) == signature(again) != signature(other)
    assert specs_of(one.weights()) == specs_of(other.weights())
    before = one.predict(9 * X)
    one.set_weights(other.weights())
    assert np.abs(before - other.predict(9 * X)).max() > 0.01  # what is adapted is used, and stays


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras
def test_words_are_looked_up_and_their_vocabulary_is_part_of_the_signature(tmp_path):
    import keras

    words = np.array(["bread", "milk", "milk", "tea"] * 8).reshape(-1, 1)
    right = np.array([0.0, 1, 1, 0] * 8)

    class Shop(Small):
        epochs = 30

        def build_model(self):
            lookup = keras.layers.StringLookup(vocabulary=self.vocabulary)
            layers = [lookup, keras.layers.Embedding(5, 4), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
            model = keras.Sequential([keras.Input((1,), dtype="string"), *layers])
            model.compile(optimizer=keras.optimizers.Adam(0.05), loss="binary_crossentropy")
            return model

    one, other = (
        Shop(None, vocabulary=list(order)).build_learner() for order in (("bread", "milk"), ("milk", "bread"))
    )
    assert signature(one) != signature(other)
    one.train(words, right, lambda *_: None)
    assert one.metric.value(one.predict(words), right) == 1
    one.export("keras", tmp_path / "model.keras")


def test_statistics_may_be_large_and_weights_may_not():
    def layers(layers):
        return [layers.BatchNormalization(momentum=0.5), layers.Dense(1, "sigmoid")]

    learner = Small(layers).build_learner()
    learner.train(50_000 * X, YES, lambda *_: None)
    weights, statistics = learner.weights(), learner.layout.statistics
    large = [place for place, array in enumerate(weights) if np.abs(array).max() > 1e6]
    assert large
    assert set(large) <= statistics
    assert weights_problem(weights, specs_of(weights), statistics) is None
    assert weights_problem(weights, specs_of(weights)) == "HUGE_WEIGHTS"
