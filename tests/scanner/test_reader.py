"""The decoding process: ended by pictures that take too long, started again, and gone with the cart."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from support.browser import code_pictures as pictures
from support.processes.programs import is_running

from child_cart.scanner.picture import PictureError
from child_cart.scanner.reader import Reader, ReaderBusy
from child_cart.scanner.worker import NICENESS

LABEL = pictures.on_a_shelf(pictures.qr("0200000000103"))
PNG = pictures.encoded(LABEL)


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


def test_pictures_and_pixels_are_read_by_one_process(reader):
    assert reader.process_id is None
    assert reader.texts(PNG, True) == ["0200000000103"]
    first = reader.process_id
    assert reader.texts(LABEL.tobytes(), False, LABEL.size) == ["0200000000103"]
    assert reader.texts(pictures.encoded(pictures.on_a_shelf()), True) == []
    with pytest.raises(PictureError, match="not a picture in JPEG, PNG or WebP"):
        reader.texts(b"nothing", True)
    assert reader.process_id == first
    assert is_running(first)


def test_the_process_runs_at_a_lower_priority_than_the_shop(reader):
    reader.texts(PNG, True)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, reader.process_id) == min(own + NICENESS, 19)


def test_a_process_that_has_ended_is_started_again(reader):
    reader.texts(PNG, True)
    first = reader.process_id
    os.kill(first, signal.SIGKILL)
    assert reader.texts(PNG, True) == ["0200000000103"]
    assert reader.process_id != first


def test_a_picture_that_takes_too_long_costs_the_process_and_nothing_else():
    reader = Reader(patience_s=0.3)
    with reader._turn:
        stuck = reader._start().pid
    os.kill(stuck, signal.SIGSTOP)
    with pytest.raises(PictureError, match=r"takes longer than 0\.3 s"):
        reader.texts(PNG, True)
    assert not is_running(stuck)
    reader._patience_s = 30
    assert reader.texts(PNG, True) == ["0200000000103"]
    reader.close()


def test_a_picture_that_ends_the_process_is_refused(reader, monkeypatch):
    start = reader._start

    def start_and_kill():
        process = start()
        process.kill()
        process._process.wait()
        return process

    monkeypatch.setattr(reader, "_start", start_and_kill)
    with pytest.raises(PictureError, match="This picture cannot be read"):
        reader.texts(PNG, True)


def test_closing_ends_the_process_for_good(reader):
    reader.texts(PNG, True)
    process_id = reader.process_id
    reader.close()
    reader.close()
    assert not is_running(process_id)
    with pytest.raises(ReaderBusy, match="The cart is stopping"):
        reader.texts(PNG, True)
