"""An engine in NumPy that keeps what it is asked to train, for tests that compute the same by hand."""

from child_cart.model.layout import Layout
from child_cart.model.task_metrics import ClassAccuracy
from tests.support.carts.light_task import SoftmaxRegression


class RecordingEngine:
    """Trains the light task.

    Args:
        learner: its model.

    Attributes:
        trained: the commands of each call of ``train``.
        results: what each call has returned.
    """

    metric, layout = ClassAccuracy(), Layout()

    def __init__(self, learner=SoftmaxRegression):
        self._learner = learner
        self.trained = []
        self.results = []

    def start(self):
        return self._learner().weights()

    def train(self, wanted):
        self.trained.append(list(wanted))
        self.results.append([trained(one) for one in wanted])
        return self.results[-1]

    def predict(self, wanted):
        return [_with(one.weights).predict(one.inputs) for one in wanted]

    def close(self):
        pass


def trained(command):
    """Return the weights after a training, without an engine."""
    learner = _with(command.weights)
    learner.train(command.inputs, command.targets, lambda *_: None)
    return learner.weights()


def _with(weights):
    learner = SoftmaxRegression()
    learner.set_weights(weights)
    return learner
