"""The command `attachments health`: the address that it requests, and its result for each
answer.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.health import Process, ask
from tests.support.log_lines import objects

ASKED: list[str] = []


class Answer(BaseHTTPRequestHandler):
    """An HTTP handler that answers the readiness request with 503 and other requests with 200."""

    def do_GET(self) -> None:
        """Record the path, and answer 503 if readiness is requested."""
        ASKED.append(self.path)
        self.send_response(503 if self.path.endswith("ready") else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def port() -> Iterator[str]:
    """Run an HTTP server on a free port, and yield the port."""
    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    ASKED.clear()
    yield str(server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of addresses and ports from the environment."""
    for name in ("API_HOST", "API_PORT", "METRICS_HOST", "METRICS_PORT"):
        monkeypatch.delenv(f"ATTACHMENTS_{name}", raising=False)


@pytest.mark.slow
def test_a_fault_is_an_object_if_the_log_is_json() -> None:
    # No process listens at this loopback address. So the command fails and prints the address.
    asked = subprocess.run(
        [sys.executable, "-m", "deploy.health"],
        env={
            "PATH": os.environ["PATH"],
            "ATTACHMENTS_LOG_FORMAT": "json",
            "ATTACHMENTS_API_HOST": "127.9.8.7",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert asked.returncode == 1
    (line,) = objects(asked.stderr)
    assert line["event"].startswith("attachments health: no answer at 127.9.8.7 port 8000")
    assert (line["level"], line["process"]) == ("error", "command")


@pytest.mark.parametrize(
    ("set_port", "process"),
    [
        ("METRICS_PORT", None),
        ("METRICS_PORT", "worker"),
        ("METRICS_PORT", "consume"),
        ("API_PORT", None),
        ("API_PORT", "api"),
    ],
)
def test_the_address_follows_from_process_and_settings(
    port: str, monkeypatch: pytest.MonkeyPatch, set_port: str, process: Process | None
) -> None:
    monkeypatch.setenv(f"ATTACHMENTS_{set_port}", port)
    assert ask("live", process) is None
    assert ask("ready", process) == "answered 503"
    assert ASKED == ["/health/live", "/health/ready"]


def test_a_port_that_is_chosen_freely_is_not_known(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTACHMENTS_METRICS_PORT", "0")
    monkeypatch.setenv("ATTACHMENTS_API_PORT", port)
    assert ask() is None
    assert "ATTACHMENTS_METRICS_PORT: is 0" in str(ask("live", "worker"))


def test_processes_of_a_local_stack_are_found_by_its_ready_file(port: str, tmp_path: Path) -> None:
    assert "no local stack" in str(ask("live", "worker", tmp_path))
    urls = {"worker": f"http://127.0.0.1:{port}/metrics"}
    (tmp_path / "ready.json").write_text(json.dumps({"metrics_urls": urls}))
    assert ask("live", "worker", tmp_path) is None
    assert "no local stack" in str(ask("live", "consume", tmp_path))
