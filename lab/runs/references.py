"""The bounds of a run: carts that train alone, and one model that has the rows of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from child_cart.model.arrays import Weights, specs_of
from child_cart.model.task import Row
from child_cart.model.trainer_commands import Predict, Train
from child_cart.model.verdict import weights_problem

from ..carts.computing import Engine
from ..conditions.data import RunData


class References:
    """Models that learn from the same rows as the carts, without averaging.

    Args:
        engine: trains them.
        data: the rows of the run.
        start: the task's starting weights.
        carts: the honest ones, in the order of their numbers.
    """

    def __init__(self, engine: Engine, data: RunData, start: Weights, carts: Sequence[int]) -> None:
        self._engine = engine
        self._data = data
        self._specs = specs_of(start)
        self._alone: dict[int, Weights] = dict.fromkeys(carts, start)
        self._all_data: Weights = start

    def learn(self, rows: Mapping[int, Sequence[Row]]) -> None:
        """Train on the rows that carts have trained on in a round.

        The model that has the rows of all honest carts gets each once, however many carts have drawn it. A model whose
        new weights cannot be used, NaN for example, keeps its old ones.
        """
        learning = [cart for cart in self._alone if rows.get(cart)]
        new = self._trained([(self._alone[cart], rows[cart]) for cart in learning])
        self._alone.update(zip(learning, new, strict=True))
        together = _each_once([row for cart, given in rows.items() if cart in self._alone for row in given])
        if together:  # all carts that are there may be hostile
            (self._all_data,) = self._trained([(self._all_data, together)])

    def models(self) -> dict[str, list[Weights]]:
        """Return the models, for the state of a run."""
        return {"alone": list(self._alone.values()), "all_data": [self._all_data]}

    def go_on_from(self, models: Mapping[str, Sequence[Weights]]) -> None:
        """Take over the models of an earlier part of this run."""
        self._alone = dict(zip(self._alone, models["alone"], strict=True))
        (self._all_data,) = models["all_data"]

    def alone(self) -> dict[int, float]:
        """Return the value of each honest cart on the test rows."""
        found = test_values(self._engine, self._data, list(self._alone.values()))
        return dict(zip(self._alone, found, strict=True))

    def all_data(self) -> float:
        """Return the value of the model that has the rows of all carts."""
        return test_values(self._engine, self._data, [self._all_data])[0]

    def _trained(self, wanted: Sequence[tuple[Weights, Sequence[Row]]]) -> list[Weights]:
        new = self._engine.train([Train(old, *self._data.arrays(rows)) for old, rows in wanted])
        return [
            weights if weights_problem(weights, self._specs) is None else old
            for weights, (old, _) in zip(new, wanted, strict=True)
        ]


def test_values(engine: Engine, data: RunData, models: Sequence[Weights]) -> list[float]:
    """Return the value of each model on the test rows, by the task's metric."""
    inputs, targets = data.test[:2]
    predictions = engine.predict([Predict(weights, inputs) for weights in models])
    return [engine.metric.value(one, targets) for one in predictions]


def _each_once(rows: Sequence[Row]) -> list[Row]:
    """Return each row once, and some twice if there were any to leave out.

    How many are left then differs from round to round, and a vectorised engine compiles a program for each number of
    rows. So rows at even distances are taken twice, at most one in eight: eight numbers from a power of two to the
    next.
    """
    distinct = list({id(row): row for row in rows}.values())
    step = max(1, (1 << len(distinct).bit_length()) // 16)
    count = min(len(rows), -(-len(distinct) // step) * step)
    return [distinct[place * len(distinct) // count] for place in range(count)]
