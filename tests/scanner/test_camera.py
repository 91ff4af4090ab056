"""The cart's own camera: films from files and streams, unplugged and plugged in again, and let go."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browser import code_pictures as pictures
from support.processes.programs import free_port, wait_for

from cart_common.process.redaction import shown
from child_cart.scanner.camera import Camera, CameraState

FRAME = pictures.on_a_shelf(pictures.qr("0200000000103", 6), size=(320, 240))


@pytest.fixture
def made() -> Iterator[Any]:
    """Make cameras that are let go in the end."""
    cameras: list[Camera] = []

    def make(source: object, **options: Any) -> Camera:
        cameras.append(Camera(str(source), **options))
        return cameras[-1]

    yield make
    for camera in cameras:
        camera.close()
        assert camera._thread is None or not camera._thread.is_alive()


class Device:
    """A device that is plugged and unplugged at will; its frames are numbered in their pixels."""

    def __init__(self, plugged: bool = True) -> None:
        self.plugged = plugged
        self.opened = self.released = self.read_frames = 0

    def open(self, source: str) -> Device:
        self.opened += 1
        return self

    def isOpened(self) -> bool:
        return self.plugged

    def read(self) -> tuple[bool, Any]:
        self.read_frames += 1
        return self.plugged, np.full((2, 3, 3), self.read_frames % 256, np.uint8)

    def get(self, fact: int) -> float:
        return 0.0

    def release(self) -> None:
        self.released += 1


def state_of(camera: Camera) -> CameraState:
    camera.look()
    return camera.status.state


def test_no_camera_says_so_and_starts_nothing(made):
    camera = made("")
    assert camera.look(0, 1) is None
    assert (camera.status.state, camera.status.sentence) == (CameraState.NONE, "This cart has no camera of its own.")
    assert camera._thread is None


@pytest.mark.parametrize(("name", "codec"), [("film.avi", "MJPG"), ("film.mp4", "mp4v")])
def test_a_film_is_shown_over_and_over(made, tmp_path, name, codec):
    path = tmp_path / name
    pictures.film(str(path), [FRAME] * 3, codec)
    camera = made(path)
    assert camera.status.state is CameraState.RESTING
    frame = camera.look(0, 10)
    for _ in range(4):
        later = camera.look(frame.number, 10)
        assert later.number > frame.number
        frame = later
    assert frame.pixels.shape == (240, 320, 3)
    assert (camera.status.state, camera.status.width, camera.status.height) == (CameraState.LIVE, 320, 240)


def test_a_film_that_is_taken_away_and_put_back(made, tmp_path):
    path = tmp_path / "film.avi"
    pictures.film(str(path), [FRAME] * 2)
    camera = made(path, retry_s=0.05)
    assert camera.look(0, 10) is not None
    away = path.rename(tmp_path / "away.avi")
    wait_for(lambda: state_of(camera) is CameraState.AWAY)
    assert f"There is no file {path}. It is tried again" in camera.status.sentence
    assert camera.look(0, 0.1) is None
    away.rename(path)
    wait_for(lambda: state_of(camera) is CameraState.LIVE)


def test_a_file_that_is_no_film_says_so(made, tmp_path):
    path = tmp_path / "film.avi"
    path.write_bytes(b"no film" * 1000)
    camera = made(path, retry_s=0.05)
    wait_for(lambda: state_of(camera) is CameraState.AWAY)
    assert "is not a readable video" in camera.status.sentence


def test_a_device_that_is_not_there_says_so(made):
    camera = made("63", retry_s=0.05)
    wait_for(lambda: state_of(camera) is CameraState.AWAY)
    assert "Camera 63 gives no picture; is it plugged in" in camera.status.sentence


def test_a_device_unplugged_and_plugged_again(made):
    device = Device()
    camera = made("0", open_capture=device.open, retry_s=0.01)
    assert camera.look(0, 5) is not None
    device.plugged = False
    wait_for(lambda: state_of(camera) is CameraState.AWAY)
    wait_for(lambda: device.opened > 3 and camera.look() is None)
    device.plugged = True
    wait_for(lambda: state_of(camera) is CameraState.LIVE)
    camera.close()
    assert device.released == device.opened


def test_the_latest_frame_wins(made):
    device = Device()
    camera = made("0", open_capture=device.open)
    first = camera.look(0, 5)
    wait_for(lambda: device.read_frames > first.number + 50)
    assert camera.look(first.number, 5).number > first.number + 40


def test_nobody_looks_and_the_camera_is_let_go_until_somebody_does(made):
    device = Device()
    camera = made("0", open_capture=device.open, rest_after_s=0.1)
    last = camera.look(0, 5).number
    wait_for(lambda: camera.status.state is CameraState.RESTING)
    assert device.released == device.opened == 1
    assert camera.status.sentence == "No page shows the camera now."
    assert camera.look(last, 5).number > last
    assert device.opened == 2


def test_a_failure_of_opencv_is_told_and_outlived(made):
    tries = []

    def open_capture(source: str) -> Device:
        tries.append(source)
        if len(tries) < 3:
            raise RuntimeError("assertion failed")
        return device

    device = Device()
    camera = made("0", open_capture=open_capture, retry_s=0.01)
    assert wait_for(lambda: camera.look(0, 0.1)) is not None


def test_closing_wakes_whoever_waits(made):
    camera = made("0", open_capture=Device(plugged=False).open)
    waited = threading.Thread(target=camera.look, args=(0, 60))
    waited.start()
    wait_for(lambda: camera.status.state is CameraState.AWAY)
    camera.close()
    camera.close()
    waited.join(5)
    assert not waited.is_alive()
    assert camera.look(0, 60) is None


class Stream(http.server.BaseHTTPRequestHandler):
    """A network camera: JPEGs one after the other."""

    picture = pictures.encoded(FRAME.convert("RGB"), "JPEG")

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while not self.server.ending.wait(0.02):  # type: ignore[attr-defined]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.picture)}\r\n\r\n"
                self.wfile.write(head.encode() + self.picture + b"\r\n")
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


class NetworkCamera:
    def __init__(self, port: int) -> None:
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Stream)
        self.server.ending = threading.Event()  # type: ignore[attr-defined]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def unplug(self) -> None:
        self.server.ending.set()  # type: ignore[attr-defined]
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_a_stream_that_breaks_and_comes_back(made):
    port = free_port()
    plugged = NetworkCamera(port)
    camera = made(f"http://127.0.0.1:{port}/video", retry_s=0.05)
    try:
        assert camera.look(0, 20).pixels.shape == (240, 320, 3)
    finally:
        plugged.unplug()
    wait_for(lambda: state_of(camera) is CameraState.AWAY)
    assert f"The stream http://127.0.0.1:{port}/video gives no picture." in camera.status.sentence
    plugged = NetworkCamera(port)
    try:
        wait_for(lambda: state_of(camera) is CameraState.LIVE)
        camera.close()
    finally:
        plugged.unplug()


def test_a_password_in_an_address_is_not_shown():
    assert shown("rtsp://admin:secret@10.0.0.9:554/live?token=x") == "rtsp://10.0.0.9:554/live"
    assert shown("0") == "0"
    assert shown(str(Path("a@b.avi"))) == "a@b.avi"
