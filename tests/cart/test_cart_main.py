"""The cart's command line: what goes wrong is one clear sentence, and what goes right stops cleanly."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.browser import code_pictures as pictures
from support.carts.node import Node, model_of
from support.carts.node import running as peer_running
from support.processes.programs import LIGHT_TASK, ROOT, BridgeProcess, CartProcess, get, is_running, running, wait_for

from cart_common.process.settings import flag_name

BROKEN = "Month,Gender,Item\n1,0,77\n1,0\n"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "child_cart/main.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, env={"PATH": "/usr/bin:/bin", **environment}
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "99999"], "--port is '99999'; it must be a whole number from 0 to 65535."),
        (["--bridge", "http://host"], "--bridge (CART_BRIDGE) is 'http://host'; it must be like ws://"),
        (["--share", "5/4"], "'5/4' is not a share like 2/4"),
        (["--task", "nothing"], "There is no task 'nothing'"),
        (["--task", "no.such:Thing"], "cannot be loaded"),
        (["--data", "/no/such.csv"], "/no/such.csv cannot be read: No such file"),
        (["--data", "BROKEN"], "line 2: item is '77'; it must be a whole number from 1 to 6."),
        (["--bridge", "ws://[::1"], "it must be like ws://"),
        (["--bridge", "ws://host:99999"], "it must be like ws://"),
        (["--host", "a..b"], "The pages cannot listen on a..b"),
        (["--task", ":Nothing"], "cannot be loaded"),
        (["--max-round-rows", "5"], "rows would come in faster"),
        (["--trainer-memory-bytes", "1000"], "is 1000; it must be at least 67108864, in which a process can start"),
        (["--min-peers", "9"], "a round could never have enough peers"),
        (["--aggregator", "luck"], "it must be one of subset, uniform, accuracy"),
        (["--weighting", "luck"], "it must be one of subset, uniform, accuracy"),
        (["--aggregator", "no.such:Thing"], "The aggregator 'no.such:Thing' cannot be loaded"),
        (["--data-dir", "/dev/null/x"], "cannot be used"),
        (
            ["--camera", "ftp://host/x"],
            "--camera (CART_CAMERA) is 'ftp://host/x'; it must be a number as 0, a video file",
        ),
        (["--camera", "rtsp://[::1"], "it must be a number as 0, a video file, or the URL of a stream"),
        (["--camera", "12345"], "it must be a number as 0, a video file"),
        (["--reconnect-first-s", "nan"], "--reconnect-first-s is 'nan'; it must be a number"),
    ],
)
def test_wrong_settings_are_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "broken.csv").write_text(BROKEN)
    given = [str(tmp_path / "broken.csv") if word == "BROKEN" else word for word in arguments]
    if "--data-dir" not in given:
        given += ["--data-dir", str(tmp_path / "data")]
    ended = run(*given)
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert ended.stderr.startswith("cart: ")
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr


def test_a_wrong_variable_is_named() -> None:
    ended = run(CART_DATASET_SIZE="many")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == ("cart: CART_DATASET_SIZE is 'many'; it must be a whole number from 1 to 1000000.\n")


def test_help_teaches_every_setting() -> None:
    from child_cart.config import CartSettings

    ended = subprocess.run(
        [sys.executable, "-m", "child_cart", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 0
    for name in CartSettings.__dataclass_fields__:
        assert flag_name(name) in ended.stdout


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert ended.returncode == 2
    assert f"The pages cannot listen on 127.0.0.1 port {port}: Address already in use." in ended.stderr
    assert not (tmp_path / "data" / "admin.json").exists()  # no password was shown
    assert "Traceback" not in ended.stderr


def test_a_damaged_store_and_a_damaged_key_are_named(tmp_path: Path) -> None:
    (tmp_path / "cart.db").write_bytes(b"not a database" * 100)
    ended = run("--data-dir", str(tmp_path))
    assert ended.returncode == 2
    assert "cart.db cannot be used" in ended.stderr
    (tmp_path / "cart.db").unlink()
    (tmp_path / "key.pem").write_text("not a key")
    ended = run("--data-dir", str(tmp_path), "--port", "0")
    assert ended.returncode == 2
    assert "key.pem cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_bridge_a_cart_sells_learns_and_stops(tmp_path: Path) -> None:
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1")
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        status = cart.status()
        assert status["link"]["state"] in ("WAITING", "CONNECTING")
        assert "No bridge answers at ws://127.0.0.1:9" in status["link"]["reason"]
        assert status["model"]["origin"] == "STARTER"
        second = run("--data-dir", str(cart.data), "--port", "0", "--task", LIGHT_TASK, PYTHONPATH=str(ROOT))
        assert second.returncode == 2
        assert "A cart is running on the data folder" in second.stderr
        trainer = status["trainer_process"]
        assert cart.stop() == 0
        assert not trainer or not is_running(trainer)
        assert "Traceback" not in cart.log
        assert (cart.data / "key.pem").stat().st_mode & 0o077 == 0
        assert (cart.data / "cart.db").stat().st_mode & 0o077 == 0


def test_settings_changed_on_the_page_and_a_reset_hold_over_a_restart(tmp_path: Path) -> None:
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--dataset-size", "50")
    rows = [{"degrees": angle, "third": angle // 120} for angle in range(0, 360, 12)]
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        assert cart.post("/api/rows", {"batch_id": "b", "rows": rows}) == {"rows": 30, "added": True}
        for name, value in (("dataset_size", "20"), ("cluster_wait_s", "0")):
            cart.put(f"/api/settings/{name}", {"value": value})
        wait_for(lambda: cart.status()["rounds_ended"] == 1)  # 30 rows are enough now
        cart.stop()
        cart.start()
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        assert cart.status()["rows"] == {"waiting": 0, "dataset_size": 20, "total": 30, "set_aside": 0}
        first = cart.status()["model"]
        cart.post("/api/reset", {"confirm": "reset"})
        wait_for(lambda: cart.status()["rounds_ended"] == 1 and cart.status()["model"] != first)
        assert cart.status()["rows"]["total"] == 30
        wait_for(lambda: cart.status()["rows"]["waiting"] == 0)
        cart.stop()
    assert "Traceback" not in cart.log


def test_the_password_is_printed_once_and_no_secret_is_ever_logged(tmp_path: Path) -> None:
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1")
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        (password,) = re.findall(r"shown this once:  (\S+)\n", cart.log)
        for name in ("admin.json", "session-key", "api-token"):
            assert (cart.data / name).stat().st_mode & 0o777 == 0o600
        shown = json.dumps([cart.get("/api/log?limit=500"), cart.get("/api/settings"), cart.status()])
        secrets = [password, cart.token, (cart.data / "session-key").read_text().strip()]
        assert not [secret for secret in secrets if secret in shown]
        assert "learning" in shown or "model" in shown
        cart.stop()
        cart.start()
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        assert cart.log.count("shown this once") == 1
        assert cart.token not in cart.log
        cart.stop()


def test_while_sharing_is_paused_nobody_gets_the_model_and_the_bridge_picks_others(tmp_path: Path) -> None:
    bridge = BridgeProcess(tmp_path)
    quick = ("--dataset-size", "10", "--cluster-size", "2", "--join-wait-s", "0.1", "--cluster-wait-s", "1")
    first, second, third = (CartProcess(tmp_path / f"cart-{n}", bridge.url, *quick) for n in range(3))
    rows = [{"degrees": angle, "third": angle // 120} for angle in range(0, 360, 24)]
    with running(bridge, first, second, third):
        for cart in (first, second, third):
            wait_for(lambda cart=cart: cart.status().get("stage") == "SERVING")
            wait_for(lambda cart=cart: cart.status()["link"]["state"] == "ATTACHED")
        assert first.put("/api/settings/sharing", {"value": "off"})
        assert first.status()["sharing"] is False
        second.post("/api/rows", {"batch_id": "b", "rows": rows})
        wait_for(lambda: second.status()["rounds_ended"] == 1)
        (ended,) = second.get("/api/rounds")["rounds"]
        assert [verdict["peer"] for verdict in ended["verdicts"]] == [third.status()["cart_id"]]
        first.post("/api/rows", {"batch_id": "b", "rows": rows})
        wait_for(lambda: first.status()["rounds_ended"] == 1)
        assert first.get("/api/rounds")["rounds"][0]["outcome"] == "SHARING_PAUSED"
        first.put("/api/settings/sharing", {"value": "on"})
        third.post("/api/rows", {"batch_id": "b", "rows": rows})
        wait_for(lambda: third.status()["rounds_ended"] == 1)
        asked = {verdict["peer"] for verdict in third.get("/api/rounds")["rounds"][0]["verdicts"]}
        assert asked == {first.status()["cart_id"], second.status()["cart_id"]}


async def test_a_model_that_is_larger_than_all_of_its_kind_holds_up_no_round(tmp_path: Path) -> None:
    bridge = BridgeProcess(tmp_path)
    cart = CartProcess(tmp_path / "cart", bridge.url, "--dataset-size", "10", "--join-wait-s", "0.1")
    rows = [{"degrees": angle, "third": angle // 120} for angle in range(0, 360, 24)]

    def learn() -> list[dict[str, Any]]:
        cart.post("/api/rows", {"batch_id": "b", "rows": rows})
        wait_for(lambda: cart.status()["rounds_ended"] == 1)
        return list(cart.get("/api/rounds")["rounds"][0]["verdicts"])

    with running(bridge, cart):
        await asyncio.to_thread(wait_for, lambda: cart.status().get("stage") == "SERVING")
        await asyncio.to_thread(wait_for, lambda: cart.status()["link"]["state"] == "ATTACHED")
        (entry,) = (await asyncio.to_thread(get, bridge.url.replace("ws", "http", 1) + "/status.json"))["carts"]
        kind = {"codec": "float16", "model_signature": entry["model_signature"]}
        giver = Node(bridge.url, tmp_path, model_of(bytes(4 * 1024 * 1024), **kind))
        giver.standing = replace(giver.standing, model_signature=kind["model_signature"])
        async with peer_running(giver):
            (verdict,) = await asyncio.to_thread(learn)
    assert verdict["peer"] == giver.id
    assert "MODEL_TOO_LARGE" in verdict["sentence"]
    assert giver.wire.frames == []


def test_the_model_is_taken_away_and_a_reset_keeps_a_backup(tmp_path: Path) -> None:
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1")
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        for kind, state in (("h5", "READY"), ("keras", "READY"), ("tflite", "FAILED")):
            cart.post("/api/exports", {"kind": kind})
            wait_for(lambda kind=kind, state=state: cart.status()["exports"][kind]["state"] == state, what=kind)
        sentence = cart.status()["exports"]["tflite"]["sentence"]
        assert sentence == "It was not converted. A softmax regression has no tflite form."
        before = cart.status()["model"]
        cart.post("/api/reset", {"confirm": "reset"})
        wait_for(lambda: (cart.status()["model"] or before)["created_at"] != before["created_at"])
        (backup,) = (cart.data / "backups").iterdir()
        assert before["file_name"] in [path.name for path in (backup / "models").iterdir()]
        cart.stop()


def test_pages_answer_while_the_cart_trains(tmp_path: Path) -> None:
    cart = CartProcess(
        *(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--dataset-size", "10"),
        LIGHT_TASK_EPOCH_S="0.3",
    )
    rows = [{"degrees": angle, "third": angle // 120} for angle in range(0, 360, 30)]
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        cart.post("/api/rows", {"batch_id": "b", "rows": rows})
        wait_for(lambda: cart.status()["stage"] == "TRAINING" and cart.status()["epoch"])
        assert cart.post("/api/rows", {"batch_id": "c", "rows": rows})["added"]
        assert cart.status()["stage"] == "TRAINING"
        cart.stop()


def test_a_cart_outlives_a_trainer_that_wants_too_much_memory(tmp_path: Path) -> None:
    cart = CartProcess(
        *(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--cluster-wait-s", "0"),
        *("--dataset-size", "10", "--trainer-memory-bytes", "300000000"),
    )
    rows = [{"degrees": angle, "third": angle // 120} for angle in range(0, 360, 30)]
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        cart.stop()
        cart._environment["LIGHT_TASK_TRAIN_BYTES"] = "500000000"
        cart.start()
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        cart.post("/api/rows", {"batch_id": "b", "rows": rows})
        wait_for(lambda: cart.status()["rounds_ended"] >= 1)
        (record,) = cart.get("/api/rounds")["rounds"][-1:]
        assert record["outcome"] == "TRAINER_FAILED"
        assert "run out of memory" in record["sentence"]
        assert cart.status()["rows"]["waiting"] == len(rows)
        assert cart.stop() == 0
        del cart._environment["LIGHT_TASK_TRAIN_BYTES"]
        cart.start()
        wait_for(lambda: cart.status().get("rows", {}).get("waiting") == 0)
        cart.stop()
    assert "Traceback" not in cart.log


def test_a_folder_of_another_task_is_refused(tmp_path: Path) -> None:
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1")
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        cart.stop()
    ended = run("--data-dir", str(cart.data), "--port", "0", "--task", "shopping")
    assert ended.returncode == 2
    assert "holds a model of the task 'light', not 'shopping'" in ended.stderr


def test_starter_rows_are_needed_only_until_they_are_learned(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("degrees,third\n10,0\n130,1\n250,2\n")
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--data", str(rows))
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        assert cart.status()["model"]["samples"] == 3
        cart.stop()
        rows.unlink()
        cart.start()
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        cart.stop()


def test_a_row_that_is_not_finite_is_refused_at_the_door(tmp_path: Path) -> None:
    from child_cart.model.task import RowError, checked_row
    from tests.support.carts.light_task import LightTask

    class Open(LightTask):
        def parse_row(self, fields):
            return {"x": float(fields["x"])}

    assert checked_row(Open(), {"x": "1.5"}) == {"x": 1.5}
    for text in ("nan", "inf", "-inf"):
        with pytest.raises(RowError, match="cannot be kept"):
            checked_row(Open(), {"x": text})


def test_keygen_makes_a_fleet_that_strangers_cannot_join(tmp_path: Path) -> None:
    printed = run("keygen").stdout
    key, token = re.findall(r"^ +((?:fleet-key|bridge-token):\S+)$", printed, re.MULTILINE)
    assert run("keygen").stdout != printed
    (tmp_path / "key").write_text(key + "\n")
    (tmp_path / "token").write_text(token + "\n")
    bridge = BridgeProcess(tmp_path, "--token-file", str(tmp_path / "token"))
    member = CartProcess(tmp_path / "member", bridge.url, "--fleet-key-file", str(tmp_path / "key"))
    stranger = CartProcess(tmp_path / "stranger", bridge.url, "--join-wait-s", "0.1")
    with running(bridge, member, stranger):
        wait_for(lambda: member.status().get("link", {}).get("state") == "ATTACHED")
        wait_for(lambda: "NOT_ADMITTED" in stranger.status().get("link", {}).get("reason", ""))
        assert (member.status()["fleet"], stranger.status()["fleet"]) == ("closed", "open")
        assert bridge.health()["carts"] == 1
    assert key not in member.log
    assert token not in bridge.log
    warnings = ("the fleet is open", "every cart is admitted")
    assert [member.log.count(warnings[0]), bridge.log.count(warnings[1])] == [0, 0]
    assert stranger.log.count(warnings[0]) == 1
    ended = run("--data-dir", str(tmp_path / "data"), "--fleet-key-file", str(tmp_path / "none"))
    assert ended.returncode == 2
    assert "--fleet-key-file (CART_FLEET_KEY_FILE) is" in ended.stderr


def test_a_camera_that_is_not_there_holds_nothing_up(tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--camera", str(film))
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        assert cart.status()["scanner"]["camera"]["state"] == "RESTING"
        pictures.film(str(film), [pictures.on_a_shelf(pictures.qr("0200000000103"))] * 3)

        def scanned() -> list[str]:
            try:
                return [code["item"]["name"] for code in cart.post("/api/camera/scan", {})["codes"]]
            except urllib.error.HTTPError:  # it is being opened
                return []

        assert wait_for(scanned) == ["Rye bread"]
        assert cart.stop() == 0
        assert "Traceback" not in cart.log
