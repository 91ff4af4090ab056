"""Scanning over HTTP: photos, frames, typed codes and the cart's camera, and what means harm."""

from __future__ import annotations

import http.client
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from support.browser import code_pictures as pictures
from support.carts.shown import CROISSANT, RYE_BREAD, Shown, bill_of
from support.processes.programs import wait_for

from child_cart.api.serving.lanes import Lane, lane_of
from child_cart.api.serving.page_server import PageServer
from child_cart.scanner.camera import Camera
from child_cart.scanner.service import NO_DECODER

LABEL = pictures.encoded(pictures.on_a_shelf(pictures.qr(RYE_BREAD.code)))


def send(shown: Shown, data: bytes, kind: str = "image/png", address: str = "/api/scan", **headers: str):
    return shown.client.post(address, data=data, content_type=kind, headers=headers)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_photo_of_a_label_gives_the_item(shown: Shown, kind: str) -> None:
    photo = pictures.encoded(pictures.turned(pictures.on_a_shelf(pictures.qr(RYE_BREAD.code)), 30), kind)
    answer = send(shown, photo, f"image/{kind.lower()}")
    assert answer.status_code == 200
    assert answer.json == {
        "codes": [{"text": RYE_BREAD.code, "item": asdict(RYE_BREAD), "reason": None, "sentence": ""}]
    }


def test_two_codes_in_a_frame_are_two_answers(shown: Shown) -> None:
    both = pictures.on_a_shelf(pictures.qr(CROISSANT.code, 7), pictures.qr("nothing here", 7))
    answer = send(shown, pictures.encoded(both), address="/api/scan?thorough=0").json
    assert {(code["reason"], code["item"] and code["item"]["name"]) for code in answer["codes"]} == {
        (None, "Croissant"),
        ("NOT_A_CODE", None),
    }


def test_a_photo_without_a_code_is_no_error(shown: Shown) -> None:
    answer = send(shown, pictures.encoded(pictures.on_a_shelf()))
    assert (answer.status_code, answer.json) == (200, {"codes": []})


def test_a_typed_code_gives_the_item_or_the_reason(shown: Shown) -> None:
    assert shown.post("/api/scan/text", {"text": RYE_BREAD.code})["codes"][0]["item"]["price_cents"] == 349
    (unknown,) = shown.post("/api/scan/text", {"text": "4006381333931"})["codes"]
    assert unknown["sentence"] == "No item of this shop has the code 4006381333931."
    assert shown.sentence("/api/scan/text", {}) == "text is missing: the code that was scanned or typed."


def test_keys_of_another_layout_give_the_item_of_their_places(shown: Shown) -> None:
    (found,) = shown.post("/api/scan/text", {"text": 'à"àààààààà&à"\'', "by_position": RYE_BREAD.code})["codes"]
    assert found["item"]["name"] == RYE_BREAD.name
    assert "American keyboard" in shown.sentence("/api/scan/text", {"text": "x", "by_position": 5})


def test_a_retired_item_is_scanned_but_not_sold(shown: Shown) -> None:
    shown.store.change_items([replace(RYE_BREAD, retired=True)])
    (code,) = send(shown, LABEL).json["codes"]
    assert (code["item"], code["sentence"]) == (None, "Rye bread is no longer sold.")
    assert RYE_BREAD.code not in {item["code"] for item in shown.get("/api/items")["items"]}
    sentence = shown.sentence("/api/bill", {"lines": bill_of((RYE_BREAD.code, 1))})
    assert sentence == "Rye bread is no longer sold: take it off the bill."


# The cart's camera.


@pytest.fixture
def filming(tmp_path: Path):
    film = tmp_path / "film.avi"
    pictures.film(str(film), [pictures.on_a_shelf(pictures.qr(RYE_BREAD.code))] * 3)
    camera = Camera(str(film))
    cart = Shown(tmp_path, camera=camera)
    yield cart
    camera.close()
    cart.close()


def test_the_carts_camera_scans_frame_after_frame(filming: Shown) -> None:
    answer = wait_for(
        lambda: (
            filming.client.post("/api/camera/scan").json.get("codes") and filming.client.post("/api/camera/scan").json
        )
    )
    assert answer["codes"][0]["item"]["name"] == "Rye bread"
    later = filming.client.post(f"/api/camera/scan?after={answer['frame']}").json
    assert later["frame"] > answer["frame"]
    picture = filming.client.get("/api/camera/frame")
    assert picture.mimetype == "image/jpeg"
    assert picture.data.startswith(b"\xff\xd8")
    assert picture.headers["Cache-Control"] == "no-store"
    assert filming.get("/api/status")["scanner"]["camera"]["state"] == "LIVE"


def test_without_a_camera_its_addresses_say_so(shown: Shown) -> None:
    assert shown.sentence("/api/camera/frame", status=503) == "This cart has no camera of its own."
    assert shown.sentence("/api/camera/scan", {}, status=503) == "This cart has no camera of its own."
    assert shown.get("/api/status")["scanner"]["camera"]["state"] == "NONE"


def test_the_status_says_what_reads_codes(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    scanner = shown.get("/api/status")["scanner"]
    assert scanner["decoder"] in ("zbar", "OpenCV")
    assert "QR" in scanner["formats"]
    assert (scanner["sentence"] == "") == (scanner["decoder"] == "zbar")
    monkeypatch.setattr("child_cart.scanner.service.decoder", lambda: None)
    assert shown.get("/api/status")["scanner"]["decoder"] is None
    assert send(shown, LABEL).json == {"error": NO_DECODER}
    assert shown.post("/api/scan/text", {"text": RYE_BREAD.code})["codes"][0]["item"]


# Harm.


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (b"", 400, "This is not a picture in JPEG, PNG or WebP."),
        (b"GIF89a" + bytes(100), 400, "This is not a picture in JPEG, PNG or WebP."),
        (LABEL[:200], 400, "The picture is damaged."),
        (b"\x89PNG" + bytes(4 * 1024 * 1024), 413, "larger"),
    ],
)
def test_hostile_uploads_are_refused(shown: Shown, data: bytes, status: int, sentence: str) -> None:
    answer = send(shown, data)
    assert answer.status_code == status
    assert sentence in answer.json["error"] or status == 413


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "", "image/svg+xml"]
)
def test_a_form_of_another_site_sends_no_picture(shown: Shown, kind: str) -> None:
    answer = send(shown, LABEL, kind)
    assert answer.status_code == 415
    assert answer.json == {"error": "Send the request's body as image/jpeg or image/png or image/webp."}


def test_a_page_of_another_origin_scans_nothing(shown: Shown) -> None:
    assert send(shown, LABEL, Origin="http://evil.example").status_code == 403
    assert shown.client.post("/api/camera/scan", headers={"Origin": "http://evil.example"}).status_code == 403


def test_pictures_are_read_one_at_a_time(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("child_cart.scanner.reader.BUSY_WAIT_S", 0.01)
    inside, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, object]:
        inside.set()
        assert go_on.wait(10)
        return {"texts": []}

    monkeypatch.setattr(shown.reader, "_ask", slow)
    first = threading.Thread(target=lambda: shown.parts.services.scanner.read_picture(LABEL, True))
    first.start()
    assert inside.wait(10)
    second = send(shown, LABEL)
    go_on.set()
    first.join()
    assert second.status_code == 503
    assert second.json == {"error": "The cart is still looking at other pictures. Try again in a moment."}
    assert send(shown, LABEL).status_code == 200


# The shop goes on.


def test_pictures_that_take_long_leave_the_shop_served(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, object]:
        begun.set()
        assert go_on.wait(30)
        return {"texts": []}

    monkeypatch.setattr(shown.reader, "_ask", slow)
    answers: list[int] = []

    def ask(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/api/scan", LABEL, {"Content-Type": "image/png"})
        answers.append(connection.getresponse().status)
        connection.close()

    with PageServer(shown.app, "127.0.0.1", 0) as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        askers = [threading.Thread(target=ask, args=(port,)) for _ in range(16)]
        for asker in askers:
            asker.start()
        assert begun.wait(10)
        wait_for(lambda: server._workers[Lane.PICTURES]._jobs.waiting("127.0.0.1") == 15)
        shopper = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(20):
            shopper.request("GET", "/api/items")
            assert shopper.getresponse().read()
        shopper.close()
        assert answers == []
        go_on.set()
        for asker in askers:
            asker.join(30)
    assert answers == [200] * 16


def test_what_may_take_seconds_is_not_answered_by_the_threads_of_the_shop(shown: Shown) -> None:
    lanes: dict[str, set[str]] = {lane: set() for lane in Lane}
    for rule in shown.app.url_map.iter_rules():
        for method in (rule.methods or set()) & {"GET", "POST"}:
            path = rule.rule.replace("<any(h5, keras, tflite):kind>", "h5").replace("<", "").replace(">", "")
            lane = lane_of(shown.app, {"PATH_INFO": path, "REQUEST_METHOD": method})
            lanes[lane].add(f"{method} {rule.rule}")
    assert lanes[Lane.PICTURES] == {"POST /api/scan", "POST /api/camera/scan"}
    assert lanes[Lane.REPORTS] == {
        *("GET /api/rounds", "GET /api/rounds.csv", "GET /api/rounds.json", "GET /api/versions", "GET /api/figures"),
        *("GET /api/exports/<any(h5, keras, tflite):kind>", "GET /metrics", "GET /admin/labels", "POST /api/rows"),
        *("GET /api/catalogue.csv", "POST /api/catalogue.csv", "GET /api/camera/frame"),
        *("GET /api/rows/set-aside", "GET /api/rows/set-aside.csv"),
    }
