"""The command line reports a mistyped command or value in one line, and shows its help fast."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.cli import run
from tests.support.command_lines import Captured, one_line

pytestmark = pytest.mark.usefixtures("no_settings")


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
            ["upload", __file__, "--attachable-type", "task"],
            "must be given together",
            id="type, no id",
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
def test_a_mistyped_value_is_named_with_its_rule(
    arguments: list[str], words: str, capsys: Captured
) -> None:
    assert run(arguments) == 2
    assert words in one_line(capsys)


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
