"""The command `attachments upload`: how it finds the API and the token, and its error messages."""

import json
from pathlib import Path

import pytest

from deploy.cli import run
from tests.support.command_lines import PASSWORD, TOKEN, Captured, one_line

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "note.txt"
    path.write_text("text")
    return str(path)


def test_upload_names_the_variables_if_none_is_set(file: str, capsys: Captured) -> None:
    assert run(["upload", file]) == 1
    line = one_line(capsys)
    assert "ATTACHMENTS_API_URL, ATTACHMENTS_TOKEN, ATTACHMENTS_ORGANIZATION_ID" in line
    assert "attachments up" in line


def test_upload_names_the_missing_variables_if_some_are_set(
    file: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTACHMENTS_TOKEN", TOKEN)
    assert run(["upload", file]) == 1
    shown = capsys.readouterr().err
    assert shown.splitlines()[1:] == [
        "  ATTACHMENTS_API_URL: is not set",
        "  ATTACHMENTS_ORGANIZATION_ID: is not set",
    ]
    assert TOKEN not in shown


def test_upload_names_a_ready_file_that_cannot_be_read(file: str, capsys: Captured) -> None:
    Path(".attachments").mkdir()
    Path(".attachments/ready.json").write_text("{}")
    assert run(["upload", file]) == 1
    assert ".attachments/ready.json cannot be read" in one_line(capsys)


def test_upload_reports_that_the_api_of_a_local_stack_is_unavailable(
    file: str, closed_port: int, capsys: Captured, tmp_path: Path
) -> None:
    ready = {"api_url": f"http://127.0.0.1:{closed_port}", "token": TOKEN, "organization_id": 1}
    (tmp_path / "ready.json").write_text(json.dumps(ready))
    assert run(["upload", file, "--data-dir", str(tmp_path)]) == 1
    at = f"http://127.0.0.1:{closed_port}"
    assert f"the API cannot be reached at {at}: connection refused" in one_line(capsys)


def test_upload_shows_no_secret_of_an_address_that_leads_nowhere(
    file: str, closed_port: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://user:{PASSWORD}@127.0.0.1:{closed_port}/base"
    monkeypatch.setenv("ATTACHMENTS_API_URL", url)
    monkeypatch.setenv("ATTACHMENTS_TOKEN", TOKEN)
    monkeypatch.setenv("ATTACHMENTS_ORGANIZATION_ID", "1")
    assert run(["upload", file]) == 1
    assert f"at http://127.0.0.1:{closed_port}: " in one_line(capsys)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host", "http://", "http://a b"])
def test_upload_reports_an_invalid_address(
    address: str, file: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTACHMENTS_API_URL", address)
    monkeypatch.setenv("ATTACHMENTS_TOKEN", TOKEN)
    monkeypatch.setenv("ATTACHMENTS_ORGANIZATION_ID", "1")
    assert run(["upload", file]) == 1
    assert "API" in one_line(capsys)
