"""An S3-compatible server for tests, and a proxy in front of it that misbehaves as networks do."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.study.servers import free_port

BUCKET = "studies"
KEY, SECRET = "AKIAWBCSTUDYTESTKEY1", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYwbcstudytest"

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "server", "date"}


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on; a part of them it answers with an error, late, or not to the end."""

    daemon_threads = True

    def __init__(self, target: int, address: str = "127.0.0.1"):
        super().__init__((address, 0), _Handler)
        self.target = target
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything: no faults from now on, and later the same as of a new one."""
        self.shares: dict[str, float] = {}
        """Fault -> probability: `error` (500), `slow` (half a second), `cut` (half an answer), `lost` (written, no answer)."""
        self.injected: Counter[str] = Counter()
        self.requests: list[str] = []
        self._draw = random.Random(0)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def choose(self, line: str) -> str:
        """The fault for a request; "" for none."""
        with self._lock:
            self.requests.append(line)
            drawn = self._draw.random()
            for fault, share in self.shares.items():
                if drawn < share:
                    self.injected[fault] += 1
                    return fault
                drawn -= share
            return ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def _pass_on(self) -> None:
        body = self._body()
        fault = self.server.choose(self.requestline)
        if fault == "slow":
            time.sleep(0.5)
        if fault == "error":
            self._answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
            return
        connection = HTTPConnection("127.0.0.1", self.server.target, timeout=60)
        # Whoever waits for "100 Continue" has had it from http.server.
        passed = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection.request(self.command, self.path, body, passed)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault == "lost":
            self._hang_up()
            return
        self._answer(answer.status, _headers(answer), content, cut=fault == "cut")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on  # noqa: N815 - the names are http.server's

    def _body(self) -> bytes:
        """What was sent, with the frames of its chunks where it came in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while True:
            line = self.rfile.readline()
            size = int(line.split(b";")[0], 16)
            body += line + self.rfile.read(size + 2)
            if size == 0:
                return body

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _headers(answer: HTTPResponse) -> dict[str, str]:
    return {name.title(): value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}


@contextmanager
def running_store(address: str = "127.0.0.1") -> Iterator[FaultyProxy]:
    """A server with an empty bucket behind a proxy without faults; gone afterwards."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Its own credentials mean nothing; those of the tests must not be found in its environment either.
        env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
    ) as process:
        proxy = FaultyProxy(port, address)
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            _make_bucket(process, port)
            yield proxy
        finally:
            proxy.shutdown()
            proxy.server_close()
            process.kill()


def _make_bucket(process: subprocess.Popen[bytes], port: int) -> None:
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("PUT", f"/{BUCKET}")
            assert connection.getresponse().status == 200
        except (ConnectionError, HTTPException):
            try:
                pytest.fail(f"the S3 server ended with {process.wait(timeout=0.1)}")
            except subprocess.TimeoutExpired:
                continue
        return


def files_with(text: str, *folders: Path) -> list[Path]:
    """Files below folders that hold a text. Sockets, and what vanishes while it is read, are none."""
    found = []
    for folder, _, names in (each for place in folders for each in os.walk(place)):
        for path in (Path(folder, name) for name in names):
            with suppress(OSError):
                found += [path] * (path.is_file() and text.encode() in path.read_bytes())
    return found


def environment(proxy: FaultyProxy, host: str = "127.0.0.1") -> dict[str, str]:
    """What a client needs to know, as environment variables."""
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{proxy.port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
