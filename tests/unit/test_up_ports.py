"""The ports that `attachments up` chooses, and its message if it cannot use an expected port."""

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from deploy.embedded.ports import HOST, choose_port
from deploy.local.plan import PORTS
from deploy.local.stack_ports import USUAL_PORT, choose
from deploy.processes.supervisor import StartFailed

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="others have one address of loopback only"
)
API_HOST = f"127.80.1.{1 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))}"
"""A loopback address at which no other process listens, not even a parallel process of
these tests.
"""


@pytest.fixture(autouse=True)
def api_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTACHMENTS_API_HOST", API_HOST)


@pytest.fixture
def usual_is_taken() -> Iterator[None]:
    with socket.create_server((API_HOST, USUAL_PORT)):
        yield


def test_the_usual_port_is_taken_without_a_word() -> None:
    chosen = choose(None, {})
    assert (chosen.ports["api"], chosen.notes) == (USUAL_PORT, [])


def test_a_taken_usual_port_is_reported(usual_is_taken: None) -> None:
    chosen = choose(None, {})
    (note,) = chosen.notes
    assert note == (
        "the API cannot listen on port 8000 (Address already in use):"
        f" it uses port {chosen.ports['api']} instead"
    )


def test_a_port_kept_from_last_time_is_reported_as_such() -> None:
    last = choose_port()
    chosen = choose(None, {"api": last})
    (note,) = chosen.notes
    assert note.startswith(f"the API uses port {last}, as last time; ")
    assert choose(None, {"api": USUAL_PORT}).notes == []
    with socket.create_server((API_HOST, USUAL_PORT)):
        (note,) = choose(None, {"api": last}).notes
    assert note.endswith(f"it uses port {last} instead, as last time")


def test_all_taken_ports_are_reported(usual_is_taken: None) -> None:
    with socket.create_server((API_HOST, 0)) as taken:
        last = taken.getsockname()[1]
        chosen = choose(None, {"api": last})
    (note,) = chosen.notes
    assert f"port {last} (Address already in use) and port {USUAL_PORT} (" in note
    assert f" it uses port {chosen.ports['api']} instead" in note


def test_a_port_that_was_asked_for_is_taken_or_refused(usual_is_taken: None) -> None:
    last = choose_port()
    chosen = choose(0, {"api": last})
    assert (chosen.ports["api"], chosen.notes) == (last, [])
    with pytest.raises(StartFailed, match=r"^port 8000 cannot be listened on: Address already"):
        choose(USUAL_PORT, {})


def test_another_port_of_a_server_is_reported() -> None:
    last = choose(None, {}).ports
    with socket.create_server((HOST, last["valkey"])):
        chosen = choose(None, last)
    (note,) = chosen.notes
    port = chosen.ports["valkey"]
    assert note == f"port {last['valkey']} of valkey is taken: it uses port {port} instead"


@pytest.mark.parametrize("name", PORTS)
def test_no_server_takes_the_port_of_the_api(name: str) -> None:
    last = choose(None, {}).ports
    assert choose(last[name], last).ports[name] != last[name]


def test_a_taken_port_of_metrics_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("ATTACHMENTS_METRICS_PORT", str(port))
        with pytest.raises(StartFailed, match=f"ATTACHMENTS_METRICS_PORT: {HOST} port {port} "):
            choose(None, {})
