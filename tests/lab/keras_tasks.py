"""Tasks with Keras models that the vectorised engine can and cannot train."""

from __future__ import annotations

from tests.support.carts.light_task import CLASSES, LightTask, SoftmaxRegression


def model(loss="sparse_categorical_crossentropy", width=2):
    import keras

    made = keras.Sequential([keras.Input((width,)), keras.layers.Dense(CLASSES, "softmax")])
    made.compile(optimizer="sgd", loss=loss)
    return made


class Plain(LightTask):
    name = "keras"
    epochs = 2
    build_learner = LightTask.__mro__[1].build_learner

    def build_model(self):
        return model()


class TensorFlowLoss(Plain):
    def build_model(self):
        import tensorflow as tf

        def loss(targets, scores):
            wanted = tf.one_hot(tf.cast(tf.reshape(targets, (-1,)), tf.int32), CLASSES)
            return tf.reduce_mean(tf.square(wanted - scores), axis=-1)

        return model(loss)


class TensorFlowBuild(Plain):
    def build_model(self):
        import keras

        if keras.backend.backend() != "tensorflow":
            raise RuntimeError("this model needs TensorFlow")
        return model()


class OwnLearner(Plain):
    def build_learner(self):
        return SoftmaxRegression()


class WrongShape(Plain):
    def build_model(self):
        return model(width=5)


class NoBuild(Plain):
    def build_model(self):
        raise ZeroDivisionError("no luck")


class PersonalHead(Plain):
    personal_layers = ("head",)

    def build_model(self):
        import keras

        layers = [keras.layers.Dense(4, "relu", name="body"), keras.layers.Dense(CLASSES, "softmax", name="head")]
        made = keras.Sequential([keras.Input((2,)), *layers])
        made.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
        return made


class WrongPersonal(PersonalHead):
    personal_layers = ("hed",)
