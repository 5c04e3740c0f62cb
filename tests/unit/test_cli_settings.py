"""The command line reports missing and invalid settings without a traceback or a secret."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deploy.cli import run
from tests.support.command_lines import PASSWORD, Captured, one_line
from tests.support.forked import run_module

HEADING = "attachments: these settings cannot be used:"
pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def settings(
    no_settings: None, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> Iterator[None]:
    """Set valid settings whose servers do not run, and capture the log.

    Real commands do not log warnings. These tests do, because they do not configure the log.
    """
    values = {
        "DATABASE_URL": f"postgresql://attachments:{PASSWORD}@127.0.0.1:{closed_port}/attachments",
        "BROKER_URL": f"redis://127.0.0.1:{closed_port}/0",
        "S3_BUCKET": "attachments",
        "FILES_SECRET": "a secret of some length",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"ATTACHMENTS_{name}", value)
    with capture_logs():
        yield


DATABASE_COMMANDS = [
    pytest.param(arguments, id=" ".join(arguments[:2]))
    for arguments in (
        ["show", "1"],
        ["retry", "1"],
        ["retry", "--failed"],
        ["list"],
        ["count"],
        ["organizations", "create", "Acme"],
        ["organizations", "list"],
        ["tokens", "create", "--organization", "1"],
        ["tokens", "list", "--organization", "1"],
        ["tokens", "revoke", "1"],
        ["migrate"],
    )
]


@pytest.mark.parametrize("arguments", DATABASE_COMMANDS)
@pytest.mark.usefixtures("settings")
def test_an_unavailable_database_is_reported_in_one_line_with_its_address(
    arguments: list[str], capsys: Captured, closed_port: int
) -> None:
    assert run(arguments) == 1
    line = one_line(capsys)
    assert "ATTACHMENTS_DATABASE_URL: " in line
    assert f"PostgreSQL refuses connections at the address (127.0.0.1:{closed_port})" in line


@pytest.mark.parametrize("arguments", [["show", "1"], ["migrate"]], ids=["show", "migrate"])
@pytest.mark.usefixtures("settings")
def test_a_host_of_the_database_that_is_not_known_is_named(
    arguments: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTACHMENTS_DATABASE_URL", f"postgresql://a:{PASSWORD}@nope.invalid/b")
    assert run(arguments) == 1
    assert "nope.invalid" in one_line(capsys)


@pytest.mark.parametrize("arguments", [["show", "1"], ["migrate"]], ids=["show", "migrate"])
@pytest.mark.usefixtures("settings")
def test_a_database_address_that_cannot_be_read_is_not_shown(
    arguments: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "ATTACHMENTS_DATABASE_URL", f"postgresql://a:{PASSWORD}@127.0.0.1:port/attachments"
    )
    assert run(arguments) == 1
    heading, fault = capsys.readouterr().err.splitlines()
    assert heading == HEADING
    assert fault.startswith("  ATTACHMENTS_DATABASE_URL: is not a valid address: ")
    assert PASSWORD not in fault


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        pytest.param(["api"], ["DATABASE_URL", "BROKER_URL", "S3_BUCKET"], id="api"),
        pytest.param(["worker"], ["DATABASE_URL", "BROKER_URL", "S3_BUCKET"], id="worker"),
        pytest.param(["reconcile"], ["DATABASE_URL", "BROKER_URL", "S3_BUCKET"], id="reconcile"),
        pytest.param(["retry", "1"], ["DATABASE_URL", "BROKER_URL"], id="retry"),
        pytest.param(["show", "1"], ["DATABASE_URL"], id="show"),
        pytest.param(["migrate"], ["DATABASE_URL"], id="migrate"),
    ],
)
def test_every_setting_at_fault_is_named_under_one_heading(
    arguments: list[str],
    needed: list[str],
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATTACHMENTS_DATABASE_URL", f"mysql://a:{PASSWORD}@127.0.0.1/attachments")
    monkeypatch.setenv("ATTACHMENTS_FILES_SECRET", "a secret of some length")
    assert run(arguments) == 1
    shown = capsys.readouterr()
    heading, *faults = shown.err.splitlines()
    assert heading == HEADING
    assert [fault.split(":")[0] for fault in faults] == [f"  ATTACHMENTS_{name}" for name in needed]
    assert PASSWORD not in shown.err
    assert shown.out == ""


def test_without_settings_and_local_stack_the_missing_ones_are_named(capsys: Captured) -> None:
    assert run(["show", "1"]) == 1
    assert "  ATTACHMENTS_DATABASE_URL: is not set" in capsys.readouterr().err.splitlines()


def run_here(*program: str, **settings: str) -> tuple[int, str, str]:
    """Run a module in the working directory, with the settings of the test.

    Return its exit status, its output and its error output.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith("ATTACHMENTS_")}
    environment = {"PATH": os.environ["PATH"], **kept, **settings}
    status, out, err = run_module(program, environment, timeout_s=30, folder=Path.cwd())
    return status, out.decode(), err.decode()


@pytest.mark.slow
@pytest.mark.parametrize("program", [("deploy.cli", "api"), ("api",)], ids=" ".join)
def test_a_taken_port_is_reported_in_one_line(
    settings: None, monkeypatch: pytest.MonkeyPatch, program: tuple[str, ...]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("ATTACHMENTS_API_PORT", str(port))
        # At the level `error`, the process logs no line about the unavailable database.
        monkeypatch.setenv("ATTACHMENTS_LOG_LEVEL", "error")
        status, _, err = run_here("-m", *program)
    assert status == 1
    assert err.count("\n") == 1, err
    assert f"port {port} cannot be listened on" in err


def printed(*arguments: str, **settings: str) -> list[str]:
    """Run a command that must fail, and return the lines of its standard error."""
    status, out, err = run_here(
        "-m", "deploy.cli", *arguments, AWS_EC2_METADATA_DISABLED="true", **settings
    )
    assert status == 1, err
    assert out == ""
    return err.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        pytest.param("API_PORT", "99999", "input should be less than", id="no such port"),
        pytest.param("API_HOST", "nope.invalid", "cannot be listened on: ", id="unknown host"),
        pytest.param(
            "API_HOST", "a..b", "cannot be listened on: not a host name", id="no host at all"
        ),
        pytest.param("EVENTS_TOKENS", ",", "has commas, but", id="no token"),
        pytest.param(
            "DATABASE_URL", f"postgresql://a:{PASSWORD}@h:port/b", "is not a valid", id="port"
        ),
        pytest.param("S3_BUCKET", "Not A Bucket", "must be the name of a bucket", id="bucket"),
    ],
)
def test_up_reports_a_wrong_setting_in_one_line(name: str, value: str, rule: str) -> None:
    heading, fault = printed("up", "--data-dir", "kept", **{f"ATTACHMENTS_{name}": value})
    assert heading == HEADING
    assert fault.startswith(f"  ATTACHMENTS_{name}: {rule}")
    assert "Unknown error" not in fault
    assert not list(Path("kept").glob("[!l]*"))  # `up` made only the file `lock`


@pytest.mark.slow
def test_up_reports_all_wrong_settings_at_once() -> None:
    sent = printed(
        "up",
        "--data-dir",
        "kept",
        ATTACHMENTS_API_PORT="99999",
        ATTACHMENTS_EVENTS_TOKENS=",",
        ATTACHMENTS_API_HOST="nope.invalid",
        ATTACHMENTS_S3_REGION="eu west",
        ATTACHMENTS_BROKER_URL=f"redis://:{PASSWORD}/x@127.0.0.1/0",
    )
    assert sorted(line.split(":")[0] for line in sent[1:]) == [
        "  ATTACHMENTS_API_HOST",
        "  ATTACHMENTS_API_PORT",
        "  ATTACHMENTS_BROKER_URL",
        "  ATTACHMENTS_EVENTS_TOKENS",
        "  ATTACHMENTS_S3_REGION",
    ]
    assert PASSWORD not in "".join(sent)


@pytest.mark.slow
@pytest.mark.parametrize("host", ["nope.invalid", "a..b"])
@pytest.mark.usefixtures("settings")
def test_a_host_that_cannot_be_listened_on_is_reported_in_one_line(host: str) -> None:
    (sent,) = printed("api", ATTACHMENTS_API_HOST=host, ATTACHMENTS_LOG_LEVEL="error")
    assert sent.startswith(f"attachments: ATTACHMENTS_API_HOST, ATTACHMENTS_API_PORT: {host} port")


@pytest.mark.slow
@pytest.mark.parametrize("process", ["api", "worker"])
@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        pytest.param(
            {"AWS_PROFILE": "nope"}, "AWS credentials: ProfileNotFound: The config", id="profile"
        ),
        pytest.param(
            {"AWS_ACCESS_KEY_ID": "the-id"},
            "AWS credentials: PartialCredentialsError: Partial",
            id="half of a key",
        ),
        pytest.param(
            {"ATTACHMENTS_S3_REGION": "eu west"}, "ATTACHMENTS_S3_REGION: must be", id="region"
        ),
        pytest.param(
            {"ATTACHMENTS_S3_ENDPOINT_URL": "http://a b"},
            "ATTACHMENTS_S3_ENDPOINT_URL: is not an address",
            id="endpoint",
        ),
        pytest.param(
            {"ATTACHMENTS_DATABASE_URL": f"postgresql://a:{PASSWORD}/x@127.0.0.1/b"},
            "ATTACHMENTS_DATABASE_URL: is not a valid address",
            id="password",
        ),
    ],
)
@pytest.mark.usefixtures("settings")
def test_a_process_that_cannot_start_names_the_setting_in_one_line(
    process: str, wrong: dict[str, str], fault: str
) -> None:
    sent = printed(process, **{"ATTACHMENTS_API_PORT": "0", **wrong})
    assert sent[0] == HEADING
    assert [line.startswith(f"  {fault}") for line in sent[1:]] == [True], sent
    assert PASSWORD not in sent[1]
