"""A desk as a cart wires it, on a real store; nothing is attached and nothing trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from support.fake_trainer import FakeTrainer
from support.nodes import SIGNATURE, Node

from child_cart.activity import Activity, Stage
from child_cart.api.app import create_app
from child_cart.catalogue_desk import CatalogueDesk
from child_cart.config import Settings, SettingsBook
from child_cart.db.embedded import EmbeddedStore
from child_cart.db.records import Json, ModelVersion, Origin, RoundRecord
from child_cart.desk import Desk
from child_cart.model.shopping import Shopping
from child_cart.model.task import Task
from child_cart.model.trainer import Trained
from child_cart.rounds import Rounds
from child_cart.scanner.camera import Camera
from child_cart.scanner.reader import Reader
from child_cart.scanning import ScanDesk
from child_cart.shop import CATALOGUE
from child_cart.versions import Versions

RYE_BREAD, CROISSANT = CATALOGUE[0], CATALOGUE[1]


class Counter:
    """Knows how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


class Shown:
    """A cart's desk, its parts, and a client of its pages."""

    def __init__(self, folder: Path, task: Task | None = None, camera: Camera | None = None) -> None:
        self.folder = folder
        self.store = EmbeddedStore(folder / "cart.db")
        self.store.put_items(CATALOGUE)
        self.book = SettingsBook(Settings(port=5099), self.store)
        self.versions = Versions(self.store, folder / "models")
        self.activity = Activity()
        self.node = Node("ws://127.0.0.1:9", folder)
        self.rounds = Rounds(
            *(self.book, self.store, self.versions, FakeTrainer()),  # type: ignore[arg-type]
            *(self.node.exchange, self.node.link, self.activity),  # type: ignore[arg-type]
        )
        self.on_rows, self.training, self.reset = Counter(), Counter(), Counter()
        self.process_id: int | None = None
        self.reader = Reader()
        self.desk = Desk(
            self.node.id,
            task or Shopping(),
            self.book,
            self.store,
            self.versions,
            self.rounds,
            self.node.exchange,
            self.node.link,
            self.node.bridges,
            self.activity,
            CatalogueDesk(self.store),
            ScanDesk(self.store, camera or Camera(""), self.reader),
            on_rows=self.on_rows,
            ask_training=self.training,
            ask_reset=self.reset,
            trainer_process=lambda: self.process_id,
        )
        self.client: FlaskClient = create_app(self.desk).test_client()

    def close(self) -> None:
        self.reader.close()
        self.store.close()

    # The cart's life, in steps.

    def initialise(self) -> None:
        self.versions.add_initial("task", self.versions.new_target(), "digest", SIGNATURE)

    def train(self, accuracy: float, summary: Json | None = None, origin: Origin = Origin.LOCAL) -> ModelVersion:
        target = self.versions.new_target()
        return self.versions.add(origin, target, Trained("digest", accuracy, summary or {}, rows=5))

    def serve(self) -> None:
        self.activity.move_to(Stage.SERVING)

    def run_round(self, record: RoundRecord) -> None:
        self.store.save_round(record)
        self.rounds.record = record

    # Its pages.

    def get(self, address: str) -> Any:
        return self._checked(self.client.get(address))

    def post(self, address: str, body: object, status: int = 200) -> Any:
        return self._checked(self.client.post(address, json=body), status)

    def put(self, address: str, body: object, status: int = 200) -> Any:
        return self._checked(self.client.put(address, json=body), status)

    def sentence(self, address: str, body: object = None, status: int = 400) -> str:
        """Return the sentence with which a request is refused; without a body it is a GET."""
        response = self.client.get(address) if body is None else self.client.post(address, json=body)
        error = self._checked(response, status)["error"]
        assert isinstance(error, str)
        return error

    @staticmethod
    def _checked(response: Any, status: int = 200) -> Any:
        assert response.status_code == status, response.text
        assert response.is_json
        return response.json


def bill_of(*lines: tuple[str, int]) -> list[Json]:
    return [{"code": code, "amount": amount} for code, amount in lines]
