"""Run a WSGI application (PEP 3333) in threads, behind the HTTP requests of an event loop.

The application gets each request whole, and its answer is collected whole: no client can hold one of its threads. A
file is not read here: the event loop sends it piece by piece.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication

from aiohttp import web

from .fair_queue import FairQueue

Environ: TypeAlias = dict[str, Any]
Answer: TypeAlias = "asyncio.Future[web.StreamResponse]"

UNPREFIXED = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
SETTLED = (b"transfer-encoding", b"expect")  # between client and server: the body is whole here


@dataclass(eq=False, slots=True)
class _Job:
    environ: Environ
    answer: Answer


class Workers:
    """Threads that run an application, each one request at a time; clients are served in turns.

    Args:
        application: what to run.
        count: how many threads.
        most_waiting: how many requests of one client may wait; None for any number.
    """

    def __init__(self, application: WSGIApplication, count: int, most_waiting: int | None) -> None:
        self._application = application
        self._most_waiting = most_waiting
        self._jobs: FairQueue[_Job] = FairQueue()
        # Daemon threads: a request that never ends must not keep the process alive.
        self._threads = [threading.Thread(target=self._work, name="page", daemon=True) for _ in range(count)]

    def start(self) -> None:
        """Start all threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Make each thread end after the waiting requests; return at once."""
        self._jobs.close()

    def is_full_for(self, client: str) -> bool:
        """Return whether as many requests of a client wait as may."""
        return self._most_waiting is not None and self._jobs.waiting(client) >= self._most_waiting

    async def answer(self, client: str, environ: Environ) -> web.StreamResponse:
        """Return the application's answer, or raise what it raises. Cancelled, the request is dropped if it waits."""
        job = _Job(environ, asyncio.get_running_loop().create_future())
        self._jobs.put(client, job)
        try:
            return await job.answer
        except asyncio.CancelledError:
            self._jobs.drop(client, job)
            raise

    def _work(self) -> None:
        while job := self._jobs.take():
            tell: Callable[[], None]
            try:
                response = run(self._application, job.environ)
                tell = _unless_done(job.answer, job.answer.set_result, response)
            except Exception as error:
                tell = _unless_done(job.answer, job.answer.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: the server has stopped waiting
                job.answer.get_loop().call_soon_threadsafe(tell)
            del job, tell  # while the thread waits, it keeps no body


def _unless_done(answer: Answer, settle: Callable[[Any], None], value: object) -> Callable[[], None]:
    def tell() -> None:
        if not answer.done():
            settle(value)
        elif isinstance(value, FileAnswer):  # nobody waits for it any more
            value.file.close()

    return tell


class WrappedFile:
    """A file that is an answer: what ``wsgi.file_wrapper`` makes (PEP 3333).

    Args:
        file: open, for reading bytes.
        piece_bytes: how much of it one step of the iteration returns.
    """

    def __init__(self, file: BinaryIO, piece_bytes: int = 8192) -> None:
        self.file = file
        self._piece_bytes = piece_bytes

    def __iter__(self) -> Iterator[bytes]:
        return iter(partial(self.file.read, self._piece_bytes), b"")

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class FileAnswer(web.StreamResponse):
    """An answer whose body is a file that has yet to be sent; who sends it closes it."""

    def __init__(self, file: BinaryIO, **parts: Any) -> None:
        super().__init__(**parts)
        self.file = file


def run(application: WSGIApplication, environ: Environ) -> web.StreamResponse:
    """Return an application's answer to one request: whole, or with the file that is its body."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
        begun.append((status, headers))
        return written.append

    parts = application(environ, start_response)
    if not isinstance(parts, WrappedFile):
        try:
            written.extend(parts)
        finally:
            if close := getattr(parts, "close", None):
                close()
    status, headers = begun[-1]
    code, _, reason = status.partition(" ")
    begin: dict[str, Any] = {"status": int(code), "reason": reason, "headers": headers}
    answer: web.StreamResponse
    if isinstance(parts, WrappedFile):
        answer = FileAnswer(parts.file, **begin)
    else:
        answer = web.Response(**begin, body=b"".join(written))
    answer.headers.setdefault("Server", "cart")
    return answer


def environ_of(request: web.BaseRequest, server: Environ) -> Environ:
    """Return the WSGI environment of a request, still without its body.

    Args:
        request: as it came from the client's own connection.
        server: the entries that are the same for all requests: scheme, name and port.
    """
    environ = {
        **server,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.rel_url.raw_path).decode("latin-1"),
        "QUERY_STRING": request.rel_url.raw_query_string,
        "SERVER_PROTOCOL": f"HTTP/{request.version.major}.{request.version.minor}",
        "REMOTE_ADDR": request.remote or "",
        "wsgi.version": (1, 0),
        "wsgi.input": BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.file_wrapper": WrappedFile,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in request.raw_headers:
        name, value = raw_name.lower(), raw_value.decode("latin-1")
        # WSGI writes - and _ the same way, so a name with an underscore could pass for another header.
        if b"_" in name or name in SETTLED:
            continue
        key = UNPREFIXED.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        separator = "; " if name == b"cookie" else ", "
        environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value
    return environ


def add_body(environ: Environ, body: bytes) -> None:
    """Put the whole body of a request into its environment."""
    environ["wsgi.input"] = BytesIO(body)
    if body:  # a chunked body came without a length
        environ.setdefault("CONTENT_LENGTH", str(len(body)))
