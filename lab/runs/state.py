"""Where a run is at the end of a round: all that its next rounds depend on. What is drawn depends on the seed alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cart_common.process.atomic_files import PUBLIC, replacing
from child_cart.db.records import ModelVersion, version_of
from child_cart.model.arrays import Array, TensorSpec, Weights, specs_of


@dataclass(frozen=True)
class RunState:
    """The end of a round.

    Attributes:
        rounds_done: rounds that have ended.
        virtual_s: the virtual time.
        versions: the newest version of each cart.
        models: weights by who has them: ``cart`` one each, ``alone`` one an honest cart, ``all_data`` one.
    """

    rounds_done: int
    virtual_s: float
    versions: Sequence[ModelVersion]
    models: Mapping[str, Sequence[Weights]]
    known: Sequence[Sequence[str]] = ()
    """What each cart remembers of the models that have taken part in its mixes; nothing where a method keeps none."""
    set_aside: Sequence[Sequence[int]] = ()
    """The numbers of each cart's rows that are set aside; nothing where a method sets none aside."""

    def fits(self, carts: int, specs: Sequence[TensorSpec]) -> bool:
        """Tell whether it is of this many carts, whose models have these arrays."""
        models = [weights for owner in self.models.values() for weights in owner]
        return (
            len(self.models.get("cart", ())) == carts
            and len(self.versions) in (0, carts)
            and all(len(of) in (0, carts) for of in (self.known, self.set_aside))
            and len(self.models.get("all_data", ())) == 1
            and all(specs_of(weights) == tuple(specs) for weights in models)
        )

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        arrays = {
            f"{owner}/{place}": np.stack(stacked)
            for owner, models in self.models.items()
            for place, stacked in enumerate(zip(*models, strict=True))
        }
        head = {
            "rounds_done": self.rounds_done,
            "virtual_s": self.virtual_s,
            "known": self.known,
            "versions": [asdict(version) for version in self.versions],
            "set_aside": self.set_aside,
        }
        with replacing(path, PUBLIC) as partial, open(partial, "wb") as file:
            np.savez(file, head=np.array(json.dumps(head)), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> RunState:
        """Read what ``save`` has written.

        Raises:
            OSError, ValueError: if it cannot be used.
        """
        try:
            return cls._read(path)
        except OSError:
            raise
        except Exception as error:  # NumPy, zip and JSON raise almost anything for bytes that are damaged
            raise ValueError(f"{type(error).__name__}: {error}") from None

    @classmethod
    def _read(cls, path: Path) -> RunState:
        # Opened here: NumPy does not close a file that it cannot read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            head = json.loads(str(found["head"]))
            stacked: dict[str, list[Array]] = {}
            for name in found.files:
                owner, slash, place = name.partition("/")
                if slash:
                    stacked.setdefault(owner, []).append(found[name])
                    if int(place) != len(stacked[owner]) - 1:
                        raise ValueError(f"the array {name} is in a wrong place")
        models = {owner: [list(weights) for weights in zip(*arrays, strict=True)] for owner, arrays in stacked.items()}
        versions = [version_of(body) for body in head["versions"]]
        of_carts = head.get("known", ()), head.get("set_aside", ())
        return cls(int(head["rounds_done"]), float(head["virtual_s"]), versions, models, *of_carts)
