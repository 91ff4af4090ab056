"""One sentence says why the system refuses, in whatever exception its error is wrapped."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from errno import EADDRINUSE, ECONNREFUSED, ENOENT
from pathlib import Path

import pytest

from cart_common.process.os_errors import error_words


def test_the_words_are_the_systems(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "missing").read_bytes()
    assert error_words(caught.value) == os.strerror(ENOENT)


def test_a_text_in_place_of_the_systems_words_is_left_out() -> None:
    error = OSError(EADDRINUSE, "error while attempting to bind on address ('127.0.0.1', 80): address already in use")
    assert error_words(error) == os.strerror(EADDRINUSE)


async def test_the_address_that_asyncio_names_is_left_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use") as caught:
        await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", taken.getsockname()[1])
    assert error_words(caught.value) == os.strerror(EADDRINUSE)


def test_of_several_errors_the_first_counts() -> None:
    refused = f"Multiple exceptions: [Errno {ECONNREFUSED}] Connect call failed ('::1', 1), [Errno 1] no"
    assert error_words(OSError(refused)) == os.strerror(ECONNREFUSED)


def test_the_resolver_and_openssl_have_numbers_of_their_own() -> None:
    assert error_words(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert error_words(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")).startswith("[SSL: WRONG")


def test_an_error_without_number_or_words_is_its_text() -> None:
    assert error_words(OSError("file signature not found")) == "file signature not found"


def test_bytes_that_are_not_text_are_named() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()
    assert error_words(caught.value) == "it is not text"
