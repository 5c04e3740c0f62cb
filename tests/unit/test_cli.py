"""The command line: what is mistyped or missing is told in one line, without a traceback."""

import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.cli import run

PASSWORD = "the-password-of-the-database"
TOKEN = "the-token-of-the-client"

HEADING = "attachments: these settings cannot be used:"

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty directory, with no setting at all."""
    for name in os.environ:
        if name.startswith(("ATTACHMENTS_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    """Settings that can be read, of servers that are away."""
    values = {
        "DATABASE_URL": f"postgresql://attachments:{PASSWORD}@127.0.0.1:{closed_port}/attachments",
        "BROKER_URL": f"redis://127.0.0.1:{closed_port}/0",
        "S3_BUCKET": "attachments",
        "FILES_SECRET": "a secret of some length",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"ATTACHMENTS_{name}", value)


def one_line(captured: Captured) -> str:
    """Return what was said on standard error, after checking that it is one line and all."""
    shown = captured.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1, shown.err
    assert "Traceback" not in shown.err
    assert PASSWORD not in shown.err
    assert TOKEN not in shown.err
    return shown.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "Missing command", id="no command"),
        pytest.param(["shw", "1"], "No such command 'shw'", id="unknown command"),
        pytest.param(["show", "1", "--jso"], "No such option: --jso", id="unknown option"),
        pytest.param(["show"], "Missing argument 'ID'", id="no id"),
        pytest.param(["show", "one"], "'ID': Input should be a valid integer", id="id in words"),
        pytest.param(["show", "1.5"], "'ID': Input should be a valid integer", id="id not whole"),
        pytest.param(["show", "0"], "greater than or equal to 1", id="id zero"),
        pytest.param(["show", str(2**63)], "less than or equal to 92233720", id="id too large"),
        pytest.param(["retry"], "give either IDs or --failed", id="retry of nothing"),
        pytest.param(["retry", "1", "--failed"], "give either IDs or --failed", id="retry of both"),
        pytest.param(["retry", "x"], "should be a valid integer", id="retry of a word"),
        pytest.param(["organizations", "create", " "], "NAME can't be blank", id="blank name"),
        pytest.param(["organizations", "create", ""], "NAME can't be blank", id="empty name"),
        pytest.param(
            ["tokens", "create", "--organization", "1", "--name", "\t"],
            "--name can't be blank",
            id="blank name of a token",
        ),
        pytest.param(
            ["organizations", "create", "\udcff"], "NAME must be UTF-8", id="a name that is no text"
        ),
        pytest.param(["list", "--limit", "0"], "greater than or equal to 1", id="list of nothing"),
        pytest.param(["list", "--organization", "0"], "equal to 1", id="organization zero"),
        pytest.param(["list", "--state", "good"], "--state: must be one of pending,", id="state"),
        pytest.param(
            ["list", "--reason", "broke"], "--reason: must be one of too_large,", id="reason"
        ),
        pytest.param(
            ["retry", "--state", "ready"],
            "--state: must be one of failed, rejected",
            id="retry of what is ready",
        ),
        pytest.param(
            ["retry", "1", "--reason", "missing"], "give either IDs or --failed", id="ids, reason"
        ),
        pytest.param(
            ["retry", "--failed", "--state", "rejected"],
            "give either --failed or --state",
            id="failed and another state",
        ),
        pytest.param(
            ["retry", "1", "--organization", "1"], "--organization goes with", id="ids of one"
        ),
        pytest.param(["tokens", "create"], "Missing option '--organization'", id="no owner"),
        *(
            pytest.param(
                ["tokens", "create", "--organization", "1", "--expires", text],
                f"--expires: must be {words}",
                id=f"expires {text[:20]!r}",
            )
            for text, words in (
                ("", "a time such as"),
                ("soon", "a time such as"),
                ("90", "a time such as"),
                ("90 d", "a time such as"),
                ("-1d", "a time such as"),
                ("1.5d", "a time such as"),
                ("٩d", "a time such as"),
                ("2027-02-30", "a time such as"),
                ("2027-01-31T25:00", "a time such as"),
                ("1" * 5000 + "d", "a time such as"),
                ("0d", "in the future"),
                ("2001-01-01", "in the future"),
                ("0001-01-01T00:00+14:00", "in the future"),
                ("99999d", "within ten years"),
                ("999999999w", "within ten years"),
                ("9999-12-31", "within ten years"),
                ("9999-12-31T23:59-14:00", "within ten years"),
            )
        ),
        *(
            pytest.param(
                ["tokens", "create", "--organization", "1", "--scope", text],
                "--scope: must be one or more of read, write, admin",
                id=f"scope {text!r}",
            )
            for text in ("", "all", "READ", "read,", "read write", "write;read")
        ),
        pytest.param(["tokens", "revoke", "-1"], "No such option: -1", id="negative id"),
        pytest.param(["upload"], "Missing argument 'FILE...'", id="no file"),
        pytest.param(["upload", "nope"], "'nope' does not exist", id="unknown file"),
        pytest.param(["upload", "."], "'.' is a directory", id="a directory"),
        pytest.param(["upload", "/dev/null"], "must be a regular file", id="a device"),
        pytest.param(
            ["upload", __file__, "--attachable-type", "task"], "belong together", id="type, no id"
        ),
        pytest.param(
            ["upload", __file__, "--attachable-type", "moon", "--attachable-id", "1"],
            "--attachable-type: must be one of invoice,",
            id="unknown type",
        ),
        pytest.param(
            ["upload", __file__, "--attachable-type", "task", "--attachable-id", "0"],
            "greater than or equal to 1",
            id="attachable zero",
        ),
        pytest.param(["upload", __file__, "--timeout", "0"], "equal to 0.1", id="no time"),
        pytest.param(
            ["upload", __file__, "--timeout", "nan"], "less than or equal to 86400", id="no number"
        ),
        pytest.param(["up", "--port", "70000"], "less than or equal to 65535", id="no such port"),
    ],
)
def test_what_is_mistyped_is_named_with_the_rule(
    arguments: list[str], words: str, capsys: Captured
) -> None:
    assert run(arguments) == 2
    assert words in one_line(capsys)


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
def test_a_database_that_is_away_is_told_in_one_line_with_its_address(
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


@pytest.mark.slow
@pytest.mark.parametrize("program", [("deploy.cli", "api"), ("api",)], ids=" ".join)
def test_a_port_that_is_taken_is_told_in_one_line(
    settings: None, monkeypatch: pytest.MonkeyPatch, program: tuple[str, ...]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("ATTACHMENTS_API_PORT", str(port))
        monkeypatch.setenv("ATTACHMENTS_LOG_LEVEL", "error")  # that the database is away
        ended = subprocess.run(
            [sys.executable, "-m", *program],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"port {port} cannot be listened on" in ended.stderr


def said(*arguments: str, **settings: str) -> list[str]:
    """Run a command that is to fail in a process of its own; return what it told."""
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "AWS_EC2_METADATA_DISABLED": "true",
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    return ended.stderr.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        pytest.param("API_PORT", "99999", "input should be less than", id="no such port"),
        pytest.param("API_HOST", "nope.invalid", "cannot be listened on: ", id="unknown host"),
        pytest.param("API_HOST", "a..b", "cannot be listened on: no name", id="no host at all"),
        pytest.param("EVENTS_TOKENS", ",", "has commas, but", id="no token"),
        pytest.param(
            "DATABASE_URL", f"postgresql://a:{PASSWORD}@h:port/b", "is not a valid", id="port"
        ),
        pytest.param("S3_BUCKET", "Not A Bucket", "must be the name of a bucket", id="bucket"),
    ],
)
def test_up_tells_a_setting_at_fault_in_one_line(name: str, value: str, rule: str) -> None:
    heading, fault = said("up", "--data-dir", "kept", **{f"ATTACHMENTS_{name}": value})
    assert heading == HEADING
    assert fault.startswith(f"  ATTACHMENTS_{name}: {rule}")
    assert "Unknown error" not in fault
    assert not list(Path("kept").glob("[!l]*"))  # nothing but the lock


@pytest.mark.slow
def test_up_tells_all_settings_at_fault_at_once() -> None:
    told = said(
        "up",
        "--data-dir",
        "kept",
        ATTACHMENTS_API_PORT="99999",
        ATTACHMENTS_EVENTS_TOKENS=",",
        ATTACHMENTS_API_HOST="nope.invalid",
        ATTACHMENTS_S3_REGION="eu west",
        ATTACHMENTS_BROKER_URL=f"redis://:{PASSWORD}/x@127.0.0.1/0",
    )
    assert sorted(line.split(":")[0] for line in told[1:]) == [
        "  ATTACHMENTS_API_HOST",
        "  ATTACHMENTS_API_PORT",
        "  ATTACHMENTS_BROKER_URL",
        "  ATTACHMENTS_EVENTS_TOKENS",
        "  ATTACHMENTS_S3_REGION",
    ]
    assert PASSWORD not in "".join(told)


@pytest.mark.slow
@pytest.mark.parametrize("host", ["nope.invalid", "a..b"])
@pytest.mark.usefixtures("settings")
def test_a_host_that_cannot_be_listened_on_is_told_in_one_line(host: str) -> None:
    (told,) = said("api", ATTACHMENTS_API_HOST=host, ATTACHMENTS_LOG_LEVEL="error")
    assert told.startswith(f"attachments: ATTACHMENTS_API_HOST, ATTACHMENTS_API_PORT: {host} port")


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
            "ATTACHMENTS_S3_ENDPOINT_URL: is no address",
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
def test_a_process_that_cannot_start_tells_the_setting_in_one_line(
    process: str, wrong: dict[str, str], fault: str
) -> None:
    told = said(process, **{"ATTACHMENTS_API_PORT": "0", **wrong})
    assert told[0] == HEADING
    assert [line.startswith(f"  {fault}") for line in told[1:]] == [True], told
    assert PASSWORD not in told[1]


class TestUpload:
    """Where `upload` finds the API and the token."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> str:
        path = tmp_path / "note.txt"
        path.write_text("text")
        return str(path)

    def test_names_what_to_set_where_there_is_nothing(self, file: str, capsys: Captured) -> None:
        assert run(["upload", file]) == 1
        line = one_line(capsys)
        assert "ATTACHMENTS_API_URL, ATTACHMENTS_TOKEN, ATTACHMENTS_ORGANIZATION_ID" in line
        assert "attachments up" in line

    def test_names_what_is_missing_where_some_is_set(
        self, file: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ATTACHMENTS_TOKEN", TOKEN)
        assert run(["upload", file]) == 1
        shown = capsys.readouterr().err
        assert shown.splitlines()[1:] == [
            "  ATTACHMENTS_API_URL: is not set",
            "  ATTACHMENTS_ORGANIZATION_ID: is not set",
        ]
        assert TOKEN not in shown

    def test_names_a_ready_file_that_cannot_be_read(self, file: str, capsys: Captured) -> None:
        Path(".attachments").mkdir()
        Path(".attachments/ready.json").write_text("{}")
        assert run(["upload", file]) == 1
        assert ".attachments/ready.json cannot be read" in one_line(capsys)

    def test_tells_that_the_api_of_a_local_stack_is_away(
        self, file: str, closed_port: int, capsys: Captured, tmp_path: Path
    ) -> None:
        ready = {"api_url": f"http://127.0.0.1:{closed_port}", "token": TOKEN, "organization_id": 1}
        (tmp_path / "ready.json").write_text(json.dumps(ready))
        assert run(["upload", file, "--data-dir", str(tmp_path)]) == 1
        at = f"http://127.0.0.1:{closed_port}"
        assert f"the API cannot be reached at {at}: connection refused" in one_line(capsys)

    def test_shows_no_secret_of_an_address_that_leads_nowhere(
        self, file: str, closed_port: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"http://user:{PASSWORD}@127.0.0.1:{closed_port}/base"
        monkeypatch.setenv("ATTACHMENTS_API_URL", url)
        monkeypatch.setenv("ATTACHMENTS_TOKEN", TOKEN)
        monkeypatch.setenv("ATTACHMENTS_ORGANIZATION_ID", "1")
        assert run(["upload", file]) == 1
        assert f"at http://127.0.0.1:{closed_port}: " in one_line(capsys)

    @pytest.mark.parametrize("address", ["localhost:8000", "ftp://host", "http://", "http://a b"])
    def test_tells_that_an_address_is_none(
        self, address: str, file: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ATTACHMENTS_API_URL", address)
        monkeypatch.setenv("ATTACHMENTS_TOKEN", TOKEN)
        monkeypatch.setenv("ATTACHMENTS_ORGANIZATION_ID", "1")
        assert run(["upload", file]) == 1
        assert "API" in one_line(capsys)


def test_the_version_is_that_of_the_project(capsys: Captured) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert run(["--version"]) == 0
    assert capsys.readouterr() == (f"attachments {project['project']['version']}\n", "")


@pytest.mark.slow
def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, deploy.cli; assert deploy.cli.run(['--help']) == 0; "
        "sys.exit(str({'aiohttp', 'asyncpg', 'celery', 'sqlalchemy'} & set(sys.modules) or ''))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.stderr.strip() == ""
    for command in ("up", "api", "worker", "migrate", "upload", "show", "retry", "tokens"):
        assert command in ended.stdout
