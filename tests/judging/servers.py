"""Servers to judge with: a real one, and one that misbehaves in every way an endpoint can."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STARTED_WITHIN = 180.0
"""Seconds; importing torch and loading a model on a busy machine."""
ENDS_WITHIN = 30.0
"""Seconds that a server gets to end, asked and then killed."""


@contextmanager
def transformers_serve(folder: Path) -> Iterator[str]:
    """`transformers serve`, a real OpenAI-compatible server; gives its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (folder.parent / "serve.log").open("w") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
    try:
        _wait_until_healthy(process, port, folder.parent / "serve.log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(ENDS_WITHIN)


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            connection.close()
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


class Misbehaving:
    """An endpoint that answers each request as `behaviour(request number, body)` says.

    A behaviour gives (status, body, headers), or seconds to wait before saying nothing.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.url = ""
        self.behaviour: Any = None

    @property
    def judged(self) -> list[dict[str, Any]]:
        """The requests that were no probes."""
        return [body for body in self.bodies if not is_probe(body)]


def is_probe(body: dict[str, Any]) -> bool:
    """Whether a request is about the harmless question that the judge's client asks first."""
    return "1+1?" in json.dumps(body)


@contextmanager
def misbehaving() -> Iterator[Misbehaving]:
    """A server on loopback whose behaviour a test chooses."""
    state = Misbehaving()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            with state.lock:
                state.bodies.append(json.loads(raw))
                state.paths.append(self.path)
                state.headers.append(dict(self.headers))
                number = len(state.bodies) - 1
            answer = state.behaviour(number, state.bodies[number])
            self.close_connection = True
            if isinstance(answer, float):
                state.closing.wait(answer)
                return
            status, body, headers = answer
            try:
                self.send_response(status)
                self.send_header("Connection", "close")
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Transfer-Encoding" not in headers and "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                if "X-Trickle" in headers:
                    while not state.closing.wait(0.05):
                        self.wfile.write(b" ")
            except OSError:
                pass  # the client has had enough, as it should

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def answered(body: object, status: int = 200, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """An answer with a JSON body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, json.dumps(body).encode(), {"Content-Type": "application/json", **named}


def chat(content: object, finish: str | None = None, **more: object) -> Any:
    """A well-formed chat answer; more: what its message holds beside the content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **more}}
    return answered({"choices": [choice | ({"finish_reason": finish} if finish else {})]})
