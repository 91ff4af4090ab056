"""Every backend, and a real MongoDB for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.processes.mongod import Mongod, need_mongod, unique

from child_cart.db.mongo import MongoStore
from child_cart.db.sqlite import SqliteStore


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    need_mongod()
    with Mongod(tmp_path_factory.mktemp("mongod")) as running:
        yield running


@pytest.fixture(params=["embedded", "mongodb"])
def reopen(request, tmp_path):
    """Give a function that opens a store anew, by name; what was written must be there."""
    opened = {}
    server_url = request.getfixturevalue("mongod").url(unique("store")) if request.param == "mongodb" else ""

    def open_store(name="cart"):
        if name in opened:
            opened[name].close()
        if server_url:
            opened[name] = MongoStore(f"{server_url}_{name}", "mongodb://here", 5.0)
        else:
            opened[name] = SqliteStore(tmp_path / f"{name}.db")
        return opened[name]

    yield open_store
    for store in opened.values():
        store.close()
