"""Backup and migration, on the command line: everything arrives, once, and nothing else is touched."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pymongo
import pytest
from support.processes.mongod import Mongod, need_mongod, unique
from support.processes.programs import LIGHT_TASK, ROOT, CartProcess, running, wait_for

from child_cart.command_line import COMMANDS
from child_cart.db import migration
from child_cart.db.migration import contents_of
from child_cart.db.records import BillLine, Sale
from child_cart.db.sqlite import SqliteStore
from child_cart.main import main

LINES = (
    BillLine("0200000000103", '=Rye "bread",;-large', 1, 349, 2),
    BillLine("NA", "ä€🥖", 2, 7, 999),
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    if arguments[0] in COMMANDS:  # here, which is quicker than in a process of its own
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            try:
                status = main([*arguments, "--task", LIGHT_TASK])
            except SystemExit as end:
                status = end.code
        return subprocess.CompletedProcess(arguments, status, "", said.getvalue())
    command = [sys.executable, "child_cart/main.py", *arguments, "--task", LIGHT_TASK]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment)


def refusal(*arguments: str) -> str:
    ended = run(*arguments)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return " ".join(ended.stderr.split())


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """The data folder of a cart that has sold, learned and been reset to other settings; copy it, do not change it."""
    folder = tmp_path_factory.mktemp("kept")
    cart = CartProcess(folder / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--cluster-wait-s", "0")
    with running(cart):
        wait_for(lambda: cart.status().get("model"))
        draw = random.Random(1)
        for number in range(12):
            rows = [{"degrees": angle, "third": angle // 120} for angle in draw.sample(range(360), 20)]
            cart.post("/api/rows", {"batch_id": f"batch {number}", "rows": rows})
        wait_for(lambda: cart.status()["rounds_ended"] >= 1)
        wait_for(lambda: cart.status()["stage"] == "SERVING")
        cart.stop()
    store = SqliteStore(folder / "cart/cart.db")
    for number in range(30):
        lines = LINES[: 1 + number % 2]
        total = sum(line.price_cents * line.amount for line in lines)
        store.record_sale(Sale(f"@sale {number}", 1e9 + number / 3, "2026-05-01", number % 2, lines, total), [])
    rows = [{"degrees": 7, "third": 0}, {"degrees": 130, "third": 1}]
    store.record_sale(Sale("sale with rows", 1e9 + 10, "2026-05-01", 1, LINES[:1], 698), rows)
    store.put_setting("dataset_size", "77")
    store.close()
    return folder / "cart"


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "cart")
    return tmp_path / "cart"


@pytest.fixture(scope="module")
def mongod(tmp_path_factory):
    need_mongod()
    with Mongod(tmp_path_factory.mktemp("mongod")) as server:
        yield server


def everything(store) -> dict[str, object]:
    contents = contents_of(store, "")
    every = {name: list(getattr(contents, name)) for name in ("items", "sales", "rows", "versions", "rounds")}
    return every | {"batches": sorted(contents.batch_ids), "settings": contents.settings}


def in_folder(folder: Path) -> dict[str, object]:
    store = SqliteStore(folder / "cart.db")
    found = everything(store)
    store.close()
    return found


def test_what_is_exported_can_be_imported_and_is_the_same(folder: Path, tmp_path: Path) -> None:
    before = in_folder(folder)
    ended = run("export", str(tmp_path / "backup"), "--data-dir", str(folder))
    assert ended.returncode == 0, ended.stderr
    assert "sales" in ended.stderr
    assert in_folder(folder) == before
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0
    new = tmp_path / "new"
    ended = run("import", str(tmp_path / "backup"), "--data-dir", str(new))
    assert ended.returncode == 0, ended.stderr
    assert in_folder(new) == before
    assert "is not empty" in refusal("import", str(tmp_path / "backup"), "--data-dir", str(new))
    assert "is not empty" in refusal("export", str(tmp_path / "backup"), "--data-dir", str(folder))
    cart = CartProcess(new, "ws://127.0.0.1:9", "--join-wait-s", "0.1")
    with running(cart):
        wait_for(lambda: cart.status().get("model"))
        status = cart.status()
        assert status["model"]["number"] == before["versions"][-1].number
        assert (status["sales"], status["rows"]["total"], status["rows"]["dataset_size"]) == (31, 242, 77)
        again = cart.post("/api/rows", {"batch_id": "batch 3", "rows": [{"degrees": 1, "third": 0}]})
        assert not again["added"]
        cart.stop()


def test_a_move_to_mongodb_and_back(folder: Path, tmp_path: Path, mongod: Mongod) -> None:
    from child_cart.db.mongo import MongoStore

    url = mongod.url(unique("moved"))
    before = in_folder(folder)
    ended = run("migrate", "--from", "embedded", "--to", url, "--data-dir", str(folder))
    assert ended.returncode == 0, ended.stderr
    store = MongoStore(url, url, 5.0)
    assert everything(store) == before
    store.close()
    assert in_folder(folder) == before
    assert "keeps its data in mongodb://" in refusal("--data-dir", str(folder), "--port", "0")
    cart = CartProcess(folder, "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--store", url)
    with running(cart):
        wait_for(lambda: cart.status().get("model"))
        assert cart.status()["sales"] == 31
        cart.post("/api/rows", {"batch_id": "later", "rows": [{"degrees": 1, "third": 0}]})
        cart.stop()
    back = ("migrate", "--from", url, "--to", "embedded", "--data-dir", str(folder))
    assert "belongs to a cart already" in refusal(*back)
    (folder / "cart.db").unlink()
    ended = run(*back)
    assert ended.returncode == 0, ended.stderr
    after = in_folder(folder)
    assert (after["sales"], len(after["rows"])) == (before["sales"], 243)


def test_two_carts_on_one_database_are_told_apart(folder: Path, tmp_path: Path, mongod: Mongod) -> None:
    url = mongod.url(unique("shared"))
    assert run("migrate", "--from", "embedded", "--to", url, "--data-dir", str(folder)).returncode == 0
    said = refusal("--store", url, "--data-dir", str(tmp_path / "second"), "--port", "0")
    assert "belongs to cart" in said
    assert "a database of its own" in said
    ended = run("export", str(tmp_path / "backup"), "--store", url, "--data-dir", str(tmp_path / "second"))
    assert ended.returncode == 0, ended.stderr
    ended = run("import", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "third"))
    assert ended.returncode == 0, ended.stderr
    assert in_folder(tmp_path / "third") == in_folder(folder)


def test_a_store_that_was_lost_or_emptied_is_not_replaced(folder: Path, mongod: Mongod) -> None:
    ended = refusal("--data-dir", str(folder), "--store", mongod.url(unique("none")), "--port", "0")
    assert "This cart keeps its data in embedded" in ended
    for damage in (lambda path: path.write_bytes(b""), lambda path: path.unlink()):
        damage(folder / "cart.db")
        said = refusal("--data-dir", str(folder), "--port", "0")
        assert f"The store {folder / 'cart.db'} is empty, but this cart has had one there" in said
        assert f"remove the file {folder / 'store'}" in said
    (folder / "store").unlink()
    cart = CartProcess(folder, "ws://127.0.0.1:9", "--join-wait-s", "0.1")
    with running(cart):
        wait_for(lambda: cart.status().get("model"))
        cart.stop()


@pytest.fixture
def backup(folder: Path, tmp_path: Path) -> Path:
    assert run("export", str(tmp_path / "backup"), "--data-dir", str(folder)).returncode == 0
    return tmp_path / "backup"


@pytest.fixture(params=["embedded", "mongodb"])
def store_name(request) -> str:
    return request.getfixturevalue("mongod").url(unique("half")) if request.param == "mongodb" else "embedded"


def test_an_import_that_is_killed_does_not_block_the_next(backup, folder, tmp_path: Path, store_name: str) -> None:
    given = ("--store", store_name, "--data-dir", str(tmp_path / "new"))
    script = (
        "import os; from child_cart.db import migration; from child_cart.main import main; "
        "migration.finish = lambda *_: os._exit(9); "
        f"main({['import', str(backup), *given, '--task', LIGHT_TASK]!r})"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60).returncode == 9
    said = refusal(*given, "--port", "0")
    assert "holds only part of what should have been moved there" in said
    assert "Give the command import or migrate again" in said
    ended = run("import", str(backup), *given)
    assert ended.returncode == 0, ended.stderr
    assert run("export", str(tmp_path / "again"), *given).returncode == 0
    for name in ("sales.csv", "cart_data.csv", "batches.csv", "versions.json", "rounds.json", "settings.json"):
        assert (tmp_path / "again" / name).read_bytes() == (backup / name).read_bytes()


def killed_after_finish(*given: str) -> None:
    """Carry out a command that is killed at the moment at which the store is full."""
    script = (
        "import os; from child_cart.db import migration; from child_cart.main import main; finish = migration.finish; "
        "migration.finish = lambda *given: (finish(*given), os._exit(9)); "
        f"main({[*given, '--task', LIGHT_TASK]!r})"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60).returncode == 9


def test_a_store_that_was_filled_has_its_owner_whenever_the_command_ends(
    backup, folder, tmp_path: Path, store_name: str, mongod: Mongod
) -> None:
    new = ("--store", store_name, "--data-dir", str(tmp_path / "new"))
    killed_after_finish("import", str(backup), *new)
    if store_name != "embedded":
        assert "belongs to cart" in refusal("--store", store_name, "--data-dir", str(tmp_path / "other"), "--port", "0")
    assert "is not empty" in refusal("import", str(backup), *new)
    target = mongod.url(unique("killed"))
    killed_after_finish("migrate", "--from", "embedded", "--to", target, "--data-dir", str(folder))
    assert "belongs to cart" in refusal("--store", target, "--data-dir", str(tmp_path / "other"), "--port", "0")


def test_a_move_that_is_killed_before_its_last_write_can_be_repeated(folder, mongod: Mongod) -> None:
    from child_cart.db.mongo import MongoStore

    given = ("migrate", "--from", "embedded", "--to", mongod.url(unique("again")), "--data-dir", str(folder))
    script = (
        "import os; from child_cart.db.mongo import MongoStore; from child_cart.main import main; "
        "put = MongoStore.put_note; MongoStore.put_note = lambda self, name, value: "
        "put(self, name, value) if value is not None else os._exit(9); "
        f"main({[*given, '--task', LIGHT_TASK]!r})"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60).returncode == 9
    store = MongoStore(given[4], given[4], 5.0)
    assert store.note("owner") is not None
    assert store.note("unfinished") is not None
    store.close()
    ended = run(*given)
    assert ended.returncode == 0, ended.stderr


def test_an_import_that_fails_leaves_nothing(backup, tmp_path: Path, store_name: str, monkeypatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "the disk")

    new = tmp_path / "new"
    given = ("--store", store_name, "--data-dir", str(new))
    with monkeypatch.context() as broken:
        broken.setattr(migration, "finish", no_room)
        assert "the disk cannot be written: No space left on device" in refusal("import", str(backup), *given)
    assert list((new / "models").iterdir()) == []
    cart = CartProcess(new, "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--store", store_name)
    with running(cart):  # as a new cart does
        wait_for(lambda: cart.status().get("model"))
        assert (cart.status()["sales"], cart.status()["rows"]["total"]) == (0, 0)
        cart.stop()


def test_an_archive_is_refused_before_anything_is_written(backup, tmp_path: Path, mongod: Mongod) -> None:
    rows = backup / "cart_data.csv"
    rows.write_text(rows.read_text().replace("\n240,,", "\n240,,9"))
    url, new = mongod.url(unique("untouched")), tmp_path / "new"
    assert "cart_data.csv, line 241: degrees is" in refusal(
        "import", str(backup), "--data-dir", str(new), "--store", url
    )
    with pymongo.MongoClient(url) as client:
        assert client.get_default_database().name not in client.list_database_names()
    assert sorted(path.name for path in new.iterdir()) == ["key.pem", "lock"]


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("archive.json", lambda text: text.replace('"format": 4', '"format": 5'), "(formats 1, 2, 3 and 4)"),
        ("archive.json", lambda text: "{}", "does not belong to an archive that this program reads"),
        ("archive.json", lambda text: "[" * 100_000, "is not a JSON file"),
        ("rounds.json", lambda text: '[{"number": 1}]', "rounds.json, record 1: 'outcome'"),
        ("items.csv", lambda text: text.replace("349", "much"), "price_cents is 'much'; it must be a whole number"),
        ("items.csv", lambda text: text.replace("False", "maybe"), "retired is 'maybe'; it must be true or false"),
        (
            "items.csv",
            lambda text: text.replace("Croissant,1,129", "Croi\tssant,9,none"),
            "line 3: price_cents is 'none'; it must be a whole number. "
            "The name 'Croi\\tssant' holds characters that cannot be printed. The category '9' is unknown",
        ),
        (
            "sales.csv",
            lambda text: text.replace(",1,349,2\n", ",0,-349,many\n", 1),
            "line 2: amount is 'many'; it must be a whole number. price_cents is -349; it must be from 1 to 9999999. "
            "category is 0;",
        ),
        (
            "sales.csv",
            lambda text: text.replace("1000000000.0,2026-05-01,0", "soon,1926-05-71,7", 1),
            "line 2: sold_at is 'soon'; it must be a number. gender is 7; it must be 0, 1 or 2 (not said). "
            "sold_on is '1926-05-71'",
        ),
        ("items.csv", lambda text: text.replace(",349,", ",-500,"), "items.csv, line 5: The price '-500' is not"),
        ("items.csv", lambda text: text.replace("Croissant", "Baguette\tbig"), "cannot be printed"),
        ("items.csv", lambda text: text.replace("0200000000202", "0200000000400"), "'0200000000400' was there before"),
        ("items.csv", lambda text: text.replace(",1,129", ",9,129"), "items.csv, line 3: The category '9' is unknown"),
        ("sales.csv", lambda text: text.replace("1000000000.0", "soon", 1), "sales.csv, line 2"),
        ("sales.csv", lambda text: text.replace("1000000000.0", "-inf", 1), "sold_at is '-inf'; it must be a number"),
        (
            "sales.csv",
            lambda text: text.replace("2026-05-01", "2026-05-32"),
            "line 2: sold_on is '2026-05-32'",
        ),
        ("sales.csv", lambda text: text.replace(",349,2\n", ",-349,2\n", 1), "price_cents is -349"),
        ("sales.csv", lambda text: text.replace(",349,2\n", ",349,1000\n", 1), "amount is 1000"),
        ("sales.csv", lambda text: text.replace(",349,2\n", ",349,3\n", 1), "total_cents is 698, and the lines make"),
        ("sales.csv", lambda text: text.replace("sale 4,", "sale 1,"), "'@sale 1' was there before"),
        ("sales.csv", lambda text: text.replace("sale 4,", f"{'s' * 70},"), "1 to 64 printable characters"),
        ("batches.csv", lambda text: text.replace("batch 3", "batch 2"), "'batch 2' was there before"),
        ("cart_data.csv", lambda text: text.replace("\n7,", "\n8,", 1), "line 8: its sequence must be 7"),
        ("settings.json", lambda text: text.replace("77", "many"), "settings.json, setting 1: dataset_size is 'many'"),
        ("settings.json", lambda text: text.replace("dataset_size", "port"), "port can only be set when the cart"),
        (
            "versions.json",
            lambda text: text.replace('"light"', '"digits"'),
            "it is of the task 'digits', and this cart",
        ),
        ("versions.json", lambda text: text.replace('"samples": 0', '"samples": -1', 1), "is below 0"),
        ("versions.json", lambda text: text.replace('"number": 1,', '"number": 0,', 1), "its number 0 must be above 0"),
        ("rounds.json", lambda text: text.replace('"rows": ', '"rows": 1e', 1), "rounds.json, record 1: rows is"),
        ("sales.csv", lambda text: text[: len(text) // 2], "sales.csv, line"),
        ("cart_data.csv", lambda text: text.replace("\n7,,", "\n7,,9", 1), "cart_data.csv, line 8: degrees is"),
        ("cart_data.csv", lambda text: text.replace("\n7,,", "\n7,s,", 1), "line 8: sale_id is 's', and there is no"),
        ("cart_data.csv", lambda text: "", "cart_data.csv is not a CSV file whose first line"),
        ("batches.csv", lambda text: text[:-10], "says that it holds"),
    ],
)
def test_an_archive_that_was_tampered_with_is_refused(folder: Path, tmp_path: Path, name, change, sentence) -> None:
    backup = tmp_path / "backup"
    assert run("export", str(backup), "--data-dir", str(folder)).returncode == 0
    path = backup / name
    path.write_text(change(path.read_text()))
    assert sentence in refusal("import", str(backup), "--data-dir", str(tmp_path / "new"))


@pytest.mark.parametrize("name", ["../../../stolen.h5", "..", ".", "", "a/b.h5", "a\n.h5"])
def test_weights_files_never_leave_the_folder(backup: Path, tmp_path: Path, name: str) -> None:
    versions = json.loads((backup / "versions.json").read_text())
    versions[-1]["file_name"] = name
    (backup / "versions.json").write_text(json.dumps(versions))
    assert "file_name is" in refusal("import", str(backup), "--data-dir", str(tmp_path / "deep/new"))
    assert not (tmp_path / "stolen.h5").exists()


def test_reset_forgets_the_model_and_keeps_the_rest(folder: Path) -> None:
    before = in_folder(folder)
    assert run("reset", "--data-dir", str(folder)).returncode == 0
    after = in_folder(folder)
    assert (after["versions"], after["rounds"]) == ([], [])
    assert (after["sales"], after["rows"]) == (before["sales"], before["rows"])


SECRET = "mongodb://me:secret@127.0.0.1:9/d"
NEARLY = ("mongodb:/me:secret@h/d", "me:secret@h/d", f" {SECRET}", "MongoDB://me:secret@h/d", "x2://:secret@h")


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--store {SECRET}"],
        [f"--store:{SECRET}"],
        [f"-s{SECRET}"],
        [SECRET],
        ["--port", SECRET],
        ["--port", "0", SECRET],
        ["export", "folder", SECRET],
        ["migrate", "--from=embedded", f"--to={SECRET}", SECRET],
        [f"--version={SECRET}"],
        ["--version=mongodb://me:it's secret@h/d"],
        ["-psecret"],
        [f"--stroe={SECRET}"],
        ["--log-level", SECRET],
        *(["--store", text] for text in NEARLY),
        ["--catalogue", "mongodb//me:secret@h/d"],
        ["--camera", "rtsp2://me:secret@h/d"],
        *(["--bridge", text] for text in ("http://me:secret@h", "ws:/me:secret@h", "me:secret@h:9000")),
        ["migrate", "--from", "embedded", "--to", "mongodb:/me:secret@h/d"],
    ],
)
def test_no_sentence_shows_a_password(tmp_path: Path, arguments: list[str]) -> None:
    assert "secret" not in refusal(*arguments, "--data-dir", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["export"], "the following arguments are required: DIR"),
        (["exprot", "folder"], "There is no command 'exprot'. Did you mean export? There are keygen, export,"),
        (["--port", "0", "export"], "'export' is out of place: a command comes before everything else"),
        (["reset", "--stroe", "embedded"], "There is no flag --stroe. Did you mean --store?"),
        (["migrate", "--from", "embedded", "--to", "embedded"], "there is nothing to move"),
        (["migrate", "--from", "embedded", "--to", "postgres://x/y"], "--to is 'postgres://x/y'"),
        (["migrate", "--from", "embedded", "--to", "mongodb://me:secret@host"], "--to is 'mongodb://host'"),
        (["--store", "mongodb://me:secret@host"], "--store (CART_STORE) is 'mongodb://host'"),
        (["--catalogue", "file:///x"], "--catalogue (CART_CATALOGUE) is"),
        (["export", "/dev/null/x"], "There is no store"),
        (["import", "/no/such"], "/no/such/archive.json cannot be read: No such file"),
        (
            ["--store", "mongodb://me:secret@127.0.0.1:9/d", "--store-timeout-s", "0.2"],
            "127.0.0.1:9/d does not answer",
        ),
        (["--store", "mongodb://127.0.0.1:9/d?bad=%ZZ&w=1", "--store-timeout-s", "0.2"], "does not answer"),
        (["--store", "mongodb://h:99999/db", "--store-timeout-s", "0.2"], "h:99999/db"),
    ],
)
def test_what_does_not_do_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    said = refusal(*arguments, "--data-dir", str(tmp_path / "data"))
    assert sentence in said
    assert "secret" not in said
