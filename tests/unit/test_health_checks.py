"""The health checks of compose and of the image: what they request, and how soon they fail."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # the locks include no stubs for this package

from deploy import health

ROOT = Path(__file__).parents[2]
NOTICED_S = 30
"""The time in seconds within which a stopped process must be reported as unhealthy."""

ASKED: list[str] = []


def of_compose(name: str) -> dict[str, Any]:
    """Return the command and the times of a service's health check in compose.yaml."""
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    check = services[name]["healthcheck"]
    kind, *command = check["test"]
    assert kind == "CMD"
    seconds = {each: int(check[each].removesuffix("s")) for each in ("interval", "timeout")}
    return {"command": command, "retries": check["retries"], **seconds}


def of_image() -> dict[str, Any]:
    """Return the command and the times of the health check in the Dockerfile."""
    text = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", "")
    options, command = re.findall(r"^HEALTHCHECK (.*?) +CMD (\[.*\])$", text, re.MULTILINE)[0]
    given = dict(re.findall(r"--(interval|timeout|retries)=(\d+)s?\b", options))
    return {"command": json.loads(command), **{name: int(given[name]) for name in given}}


def of_kubernetes() -> dict[str, Any]:
    """Return the times of the probes that containers.md recommends for Kubernetes."""
    text = (ROOT / "deploy/docs/containers.md").read_text()
    given = dict(re.findall(r"`(periodSeconds|timeoutSeconds|failureThreshold): (\d+)`", text))
    return {
        "interval": int(given["periodSeconds"]),
        "timeout": int(given["timeoutSeconds"]),
        "retries": int(given["failureThreshold"]),
    }


CHECKS = {
    "image": of_image(),
    "kubernetes": of_kubernetes(),
    **{name: of_compose(name) for name in ("api", "worker", "consume")},
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_process_that_is_stopped_is_unhealthy_in_time(name: str) -> None:
    check = CHECKS[name]
    # In the worst case, the process stops just after a successful check. Then each failed check
    # takes one interval of waiting and one timeout.
    assert check["retries"] * (check["interval"] + check["timeout"]) <= NOTICED_S
    # The command must report a missing answer before the health check ends the command.
    assert check["timeout"] > health.TIMEOUT_S


class Unready(BaseHTTPRequestHandler):
    """The HTTP server of a process that is alive but not ready."""

    def do_GET(self) -> None:
        """Record the path, and answer 503 if readiness is requested."""
        ASKED.append(self.path)
        self.send_response(503 if self.path.endswith("ready") else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def port() -> Iterator[str]:
    """Run the HTTP server of an unready process on a free port, and yield the port."""
    server = HTTPServer(("127.0.0.1", 0), Unready)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    ASKED.clear()
    yield str(server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", ["image", "api", "worker", "consume"])
def test_a_check_asks_its_process_at_the_metrics_address(
    name: str, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = CHECKS[name]["command"]
    assert command[:3] == ["python", "-m", health.__name__]
    monkeypatch.setattr("sys.argv", command[2:])
    monkeypatch.setenv("ATTACHMENTS_METRICS_PORT", port)
    if name == "api":
        # `docker compose up --wait` must wait until the API can serve clients. So the check of the
        # API asks for readiness.
        with pytest.raises(SystemExit, match=r"^attachments health: answered 503$"):
            health.main()
        assert ASKED == ["/health/ready"]
    else:
        # An outage of the database must not make a worker or consumer unhealthy. So their checks
        # ask only whether the process is alive.
        health.main()
        assert ASKED == ["/health/live"]
