"""Names and passwords of addresses are not shown; what is no address stays whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.redaction import shown, shown_text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("embedded", "embedded"),
        ("mongodb://h/d", "mongodb://h/d"),
        ("mongodb://me:secret@h1:27017,h2/d?w=1", "mongodb://h1:27017,h2/d"),
        ("mongodb+srv://me@h/d", "mongodb+srv://h/d"),
        ("rtsp://[fe80::1]:554/live", "rtsp://[fe80::1]:554/live"),
        ("rtsp://h:554/live@1/high", "rtsp://h:554/live@1/high"),
        ("rtsp://me:secret@h/live@1", "rtsp://h/live@1"),
        ("rtsp://10.0.0.5/user=admin_password=secret_channel=1", "rtsp://10.0.0.5/user=admin_password=…_channel=1"),
        ("/films/10:30 me@home.mp4", "/films/10:30 me@home.mp4"),
        ("/home/a/10:30?.mp4", "/home/a/10:30?.mp4"),
        (r"C:\Users\a@b\film.mp4", r"C:\Users\a@b\film.mp4"),
        ("a@b.avi", "a@b.avi"),
        ("0", "0"),
        ("a b", "a b"),
    ],
)
def test_what_is_left(text: str, seen: str) -> None:
    assert shown(text) == seen


@pytest.mark.parametrize(
    "password", ["secret", "se/secret", "se@secret", "se:secret", "se?secret", "'secret\"", "se secret"]
)
@pytest.mark.parametrize(
    "before", ["mongodb://me:", "mongodb:/me:", "me:", "mongo db://me:", "ws://a@b:", " RTSP://u:"]
)
def test_a_password_is_never_left(before: str, password: str) -> None:
    assert "secret" not in shown(f"{before}{password}@h/d")


@given(st.text())
def test_anything_is_shown(text: str) -> None:
    assert len(shown(text)) <= len(text) + 10
    assert "@" in text or ":/" in text or shown(text) == text


def test_within_a_text() -> None:
    said = shown_text("cannot reach ws://me:se/cret@h:9000/ and http://h/, ask me@example.org")
    assert said == "cannot reach ws://h:9000/ and http://h/, ask me@example.org"
