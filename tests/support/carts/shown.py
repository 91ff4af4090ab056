"""A cart's pages on a real store; nothing is attached and nothing trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from support.carts.fake_trainer import FakeTrainer
from support.carts.node import SIGNATURE

from cart_common.process.json_values import Json
from child_cart.cart import build
from child_cart.config import CartSettings
from child_cart.db.records import ModelVersion, Origin, RoundRecord
from child_cart.learning.activity import Stage
from child_cart.learning.exports import ExportKind
from child_cart.model.shopping import Shopping
from child_cart.model.task import Task
from child_cart.model.trainer import Initial, Trained
from child_cart.operation.operator_service import CartRequests
from child_cart.scanner.camera import Camera
from child_cart.shop.billing import CATALOGUE

PASSWORD = "a password for tests"
OTHER_PAGE = "https://shop.example"
RYE_BREAD, CROISSANT = CATALOGUE[0], CATALOGUE[1]


class Browser:
    """A client with cookies that sends forms and JSON as the pages do."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def token(self, address: str) -> str:
        """Return the CSRF token that a page carries."""
        found = re.search(r'name="csrf[-_]token"[^>]*(?:content|value)="([^"]+)"', self.client.get(address).text)
        assert found, address
        return found[1]

    def log_in(self, password: str, next: str = "") -> Any:
        form = {"csrf_token": self.token("/login"), "password": password, "next": next}
        return self.client.post("/login", data=form)

    def send(self, method: str, address: str, body: object) -> Any:
        headers = {"X-CSRFToken": self.token("/admin")}
        return self.client.open(address, method=method, json=body, headers=headers)


class Counter:
    """Knows how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


class Shown:
    """A cart's services, its parts, and a client of its pages that shows the token of programs.

    ``stranger`` makes one that shows nothing, and ``browser`` one that has logged in.
    """

    def __init__(self, folder: Path, task: Task | None = None, camera: Camera | None = None) -> None:
        self.folder = folder
        password = folder / "password"
        password.write_text(PASSWORD)
        settings = CartSettings(
            bridge="ws://127.0.0.1:9", port=5099, admin_password_file=str(password), api_origins=OTHER_PAGE
        )
        self.on_rows, self.training, self.reset = Counter(), Counter(), Counter()
        self.asked_exports: list[ExportKind] = []
        requests = CartRequests(self.on_rows, self.training, self.reset, self.asked_exports.append)
        self.trainer = FakeTrainer()
        self.parts = build(settings, task or Shopping(), folder, self.trainer, camera, requests)
        self.id = self.parts.local.identity.cart_id.hex()
        self.store, self.book = self.parts.local.store, self.parts.local.book
        self.versions, self.activity = self.parts.local.versions, self.parts.local.activity
        self.rounds, self.exports = self.parts.learning.rounds, self.parts.learning.exports
        self.reader, self.log_buffer = self.parts.shop.reader, self.parts.log_buffer
        self.account, self.app = self.parts.account, self.parts.application
        self.client = self.program()

    def close(self) -> None:
        self.reader.close()
        self.store.close()

    # The cart's life, in steps.

    def initialise(self) -> None:
        self.versions.add_initial("task", self.versions.new_target(), Initial("digest", SIGNATURE, 0))

    def train(self, accuracy: float, summary: Json | None = None, origin: Origin = Origin.LOCAL) -> ModelVersion:
        target = self.versions.new_target()
        return self.versions.add(origin, target, Trained("digest", accuracy, summary or {}, rows=5))

    def serve(self) -> None:
        self.activity.move_to(Stage.SERVING)

    def run_round(self, record: RoundRecord) -> None:
        self.store.save_round(record)
        self.rounds.log.record = record

    # Who asks.

    def program(self) -> FlaskClient:
        client = self.app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {self.account.token}"
        return client

    def stranger(self) -> FlaskClient:
        return self.app.test_client()

    def browser(self, password: str = PASSWORD) -> Browser:
        browser = Browser(self.app.test_client())
        assert browser.log_in(password).status_code == 302
        return browser

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
