"""What a run is: the lab's own settings and every learning setting that a cart has, from flags, TOML or Python."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any, Final

from cart_common.process.settings import SettingError, field_named, option, option_of, parse_value
from child_cart.config import CartSettings, check

METHODS: Final = ("carts", "fedavg", "dpsgd", "epidemic")
HOSTILE_KINDS: Final = (
    "sign-flip",
    "sign-flip-10",
    "label-flip",
    "noise",
    "untrained",
    "stale",
    "nan",
    "sleeper",
    "sleeper-2",
    "sleeper-5",
    "sleeper-10",
    "sleeper-100",
    "sleeper-1000",
    "alie",
    "absent",
)
"""The names of the attacks in ``lab.conditions``, of which settings know nothing else."""
ENGINES: Final = ("auto", "vectorised", "one-by-one", "ray")


@dataclass(frozen=True)
class LabSettings:
    """The settings of a run that no cart has."""

    task: str = option("digits", "what is learned: shopping, digits, or your own class as package.module:Class")
    carts: int = option(8, "simulated carts", minimum=2, maximum=1_000_000)
    rounds: int = option(10, "rounds of each cart", minimum=1, maximum=1_000_000)
    rows: int = option(30, "rows that a cart gets in each round; every tenth is held out", minimum=2, maximum=1_000_000)
    seed: int = option(0, "seed of all random draws: the same seed gives the same numbers", minimum=0)
    partition: str = option(
        "auto",
        "which rows a cart gets: iid, dirichlet:ALPHA, labels:K, months (in calendar order), own (as the task "
        "divides its starter rows), or auto: iid with --data, else own",
    )
    topology: str = option(
        f"clusters:{CartSettings.cluster_size}",
        "whom a cart asks in a round: clusters:N (N at random), ring, full, exponential",
    )
    method: str = option(
        "carts",
        "how they learn together: carts, as real carts do, or for comparison fedavg, dpsgd or epidemic",
        choices=METHODS,
    )
    hostile: str = option(
        "", f"fraction of hostile carts and what they do, as 0.25:sign-flip; kinds are {', '.join(HOSTILE_KINDS)}"
    )
    loss: float = option(0.0, "fraction of the models that never come", minimum=0, maximum=0.999)
    delay: float = option(0.0, "mean seconds that a message takes (virtual time)", minimum=0, maximum=3600)
    churn: float = option(0.0, "fraction of the carts that are away in a round", minimum=0, maximum=0.9)
    data: str = option("", "CSV file with rows to learn from, instead of the task's; a fifth is kept for the test")
    engine: str = option(
        "auto",
        "what computes: vectorised, one-by-one, auto, or ray (the workers of a Ray cluster, each by auto)",
        choices=ENGINES,
    )
    ray_address: str = option("", "HOST:PORT of a Ray cluster that this machine is part of; none starts one here alone")
    tensorboard: str = option("off", "on writes an event file for TensorBoard into the folder", choices=("off", "on"))
    mlflow: str = option("", "folder, or address of a server, for a run of MLflow with parameters and metrics")


LEARNING: Final = tuple(entry for entry in fields(CartSettings) if option_of(entry).learning)
"""The settings of a cart that say how it learns."""
SHOWN: Final = ("ray_address", "tensorboard", "mlflow")
"""The settings that change where a run is computed or shown, not what comes out."""
PLACES: Final = ("engine", *SHOWN)
"""The settings with which a run may go on elsewhere."""
# Set from the lab's own: rows and topology.
_DERIVED: Final = ("dataset_size", "cluster_size")
_OWN: Final = tuple(fields(LabSettings))
CART: Final = tuple(entry for entry in LEARNING if entry.name not in _DERIVED)
"""The settings of a cart that a run has by their own names."""

RunFlags: Final = make_dataclass(
    "RunFlags",
    [(entry.name, entry.type, field(default=entry.default, metadata=entry.metadata)) for entry in (*_OWN, *CART)],
    frozen=True,
)
"""All settings of a run as one table, for a command line."""


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a run.

    Attributes:
        lab: the lab's settings.
        learning: settings of the carts that differ from a cart's defaults.
    """

    lab: LabSettings = field(default_factory=LabSettings)
    learning: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> RunConfig:
        """Return the configuration with these values, by the names of settings.

        Raises:
            SettingError: for the first setting that does not exist or has a wrong value.
        """
        checked = {name: parse_value(field_named((*_OWN, *CART), name), value, name) for name, value in values.items()}
        own = {entry.name for entry in _OWN}
        config = cls(
            LabSettings(**{name: value for name, value in checked.items() if name in own}),
            {name: value for name, value in checked.items() if name not in own},
        )
        # How many peers a cart asks is known with the topology: the fleet checks it.
        check(config.cart_settings(config.learning.get("min_peers", 1)))
        return config

    @classmethod
    def of_flags(cls, given: Mapping[str, Any], file: Path | None = None) -> RunConfig:
        """Return the configuration with the values that a command line was given; they go before those of a file."""
        return cls.of({**(cls.load(file).values() if file else {}), **given})

    @classmethod
    def load(cls, path: Path) -> RunConfig:
        """Read a TOML file.

        Raises:
            SettingError: if it cannot be read, or holds what is no setting.
        """
        try:
            return cls.of(tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingError(f"The configuration {path} cannot be read: {error}.") from None

    def at_places_of(self, given: Mapping[str, Any]) -> RunConfig:
        """Return it with the settings ``PLACES`` that a command line was given.

        Raises:
            SettingError: if another setting was given with another value.
        """
        values = self.values()
        for name, value in given.items():
            if name not in PLACES and value != values[name]:
                raise SettingError(
                    f"The run has {name} {values[name]!r}, not {value!r}: a run goes on with its own settings. Begin a "
                    "new one with --config and another --out."
                )
        return replace(self, lab=replace(self.lab, **{name: given[name] for name in given if name in PLACES}))

    def deciding(self) -> dict[str, Any]:
        """Return the values that decide what comes out."""
        values = {name: value for name, value in self.values().items() if name not in SHOWN}
        # The workers of a cluster choose as auto does. The other engines round differently.
        return {**values, "engine": "auto"} if self.lab.engine == "ray" else values

    def values(self) -> dict[str, Any]:
        """Return all values by name, those of carts too, as ``of`` takes them."""
        defaults = {entry.name: entry.default for entry in CART}
        return {**asdict(self.lab), **defaults, **self.learning}

    def cart_settings(self, cluster_size: int) -> CartSettings:
        """Return the settings of each simulated cart."""
        values = {
            "dataset_size": self.lab.rows,
            "cluster_size": cluster_size,
            # What a cart has mixed, what it had trained before, and what it trained that from: a hostile one sends
            # what its attack makes of the two last ones.
            "keep_versions": 3,
            "keep_rounds": 1,
            **self.learning,
        }
        rows = values.get("max_round_rows", CartSettings.max_round_rows)
        return CartSettings(**{**values, "max_round_rows": max(rows, self.lab.rows)})
