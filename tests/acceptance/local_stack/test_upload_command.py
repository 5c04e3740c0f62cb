"""`attachments upload` and commands for operators, run with a complete local stack."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from PIL import Image

from tests.data.images import BATCH
from tests.support.local import COMMAND_TIMEOUT_S, LocalStack, bare_environment


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Make two JPEGs of different shapes and a text file, and return their paths."""
    folder = tmp_path_factory.mktemp("files")
    for name, size in (("wide one.jpg", (1600, 900)), ("tall.jpg", (600, 1200))):
        Image.linear_gradient("L").resize(size).convert("RGB").save(folder / name)
    (folder / "note.txt").write_text("Grüße\n" * 50, encoding="utf-8")
    return [folder / "wide one.jpg", folder / "tall.jpg", folder / "note.txt"]


@pytest.fixture(scope="module")
def uploaded(local: LocalStack, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Upload the files with one command, and return the JSON that it prints."""
    ended = local.run("upload", *files, "--json")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert ended.stderr == ""
    printed: list[dict[str, Any]] = json.loads(ended.stdout)
    return printed


def test_upload_brings_files_to_ready_with_thumbnails_for_images(
    uploaded: list[dict[str, Any]], files: Sequence[Path]
) -> None:
    assert [item["file"] for item in uploaded] == [str(file) for file in files]
    assert [item["state"] for item in uploaded] == ["ready"] * 3
    assert [item["size"] for item in uploaded] == [file.stat().st_size for file in files]
    types = [item["content_type"].split(";")[0] for item in uploaded]
    assert types == ["image/jpeg", "image/jpeg", "text/plain"]
    assert [(item["width"], item["height"]) for item in uploaded] == [
        (1600, 900),
        (600, 1200),
        (None, None),
    ]
    assert [item["thumb"] is not None for item in uploaded] == [True, True, False]
    for item, file in zip(uploaded, files, strict=True):
        with urlopen(item["url"], timeout=10) as answer:  # noqa: S310 - our own stack
            assert answer.read() == file.read_bytes()
    with urlopen(uploaded[0]["thumb"], timeout=10) as answer:  # noqa: S310 - our own stack
        thumbnail = Image.open(BytesIO(answer.read()))
    assert 0 < thumbnail.width < 1600
    assert abs(thumbnail.width / thumbnail.height - 16 / 9) < 0.05


def opens(url: str) -> bool:
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own stack
        return bool(answer.read())


def test_upload_in_a_pipe_ends_in_a_line_a_file(local: LocalStack, files: Sequence[Path]) -> None:
    ended = local.run("upload", *files, "--attachable-type", "task", "--attachable-id", "7")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    wide, tall, note = (line.split("  ") for line in ended.stdout.splitlines())
    assert [line[1:3] for line in (wide, tall, note)] == [["ready", "-"]] * 3
    assert [line[4] for line in (wide, tall, note)] == ["1600×900", "600×1200", "-"]
    assert [line[-1] for line in (wide, tall, note)] == [str(file) for file in files]
    assert all(opens(url) for url in (*wide[7:9], *tall[7:9], note[7]))


def test_upload_on_a_terminal_ends_in_a_table_and_whole_addresses(
    local: LocalStack, files: Sequence[Path]
) -> None:
    terminal, stdout = pty.openpty()
    fcntl.ioctl(stdout, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "upload", *files, "--data-dir", local.data_dir],
        env={**bare_environment(), "COLUMNS": ""},
        cwd=local.data_dir.parent,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    os.close(stdout)
    shown = b""
    with suppress(OSError):  # Linux reports the end of a terminal's output as an OSError
        while chunk := os.read(terminal, 65536):
            shown += chunk
    os.close(terminal)
    assert ended.returncode == 0, ended.stderr
    table, _, below = shown.decode().replace("\r\n", "\n").partition("\n\n")
    head, *rows = table.splitlines()
    assert head.split() == ["id", "state", "reason", "size", "W×H", "seconds", "file"]
    assert len(rows) == len(files)
    assert all(len(row) <= 80 and " ready " in row for row in rows)
    urls = [line.strip() for line in below.splitlines() if "http" in line]
    assert len(urls) == 5
    assert all(opens(url) for url in urls)


def test_upload_of_many_files_and_a_bad_one_reports_each(
    local: LocalStack, files: Sequence[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(BATCH)
    many = []
    for number in range(40):
        many.append(tmp_path / f"{number}.txt")
        many[-1].write_text(f"text {number}")
    ended = local.run("upload", *many, broken, "--json")
    printed = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert [item["state"] for item in printed] == ["ready"] * 40 + ["rejected"]
    assert printed[-1]["reason"]["code"] == "reserved_type"


def test_upload_takes_its_credentials_from_the_environment(
    local: LocalStack, files: Sequence[Path]
) -> None:
    variables = {
        "ATTACHMENTS_API_URL": local.ready["api_url"],
        "ATTACHMENTS_TOKEN": local.ready["token"],
        "ATTACHMENTS_ORGANIZATION_ID": str(local.ready["organization_id"]),
    }
    ended = local.run_bare("upload", files[2], "--no-wait", "--json", **variables)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)[0]["state"] == "pending"


def test_show_prints_the_state_of_an_attachment(
    local: LocalStack, uploaded: list[dict[str, Any]]
) -> None:
    number = uploaded[0]["id"]
    shown = json.loads(local.run("show", number, "--json").stdout)
    assert (shown["id"], shown["state"], shown["width"]) == (int(number), "ready", 1600)
    assert shown["key"].endswith("/original/wide_one.jpg")
    table = local.run("show", number)
    assert table.returncode == 0
    assert shown["key"] in table.stdout


def test_show_of_an_id_that_does_not_exist_fails(local: LocalStack) -> None:
    ended = local.run("show", "999999999")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "attachments: there is no attachment 999999999\n"


def test_retry_does_not_change_ready_attachments(
    local: LocalStack, uploaded: list[dict[str, Any]]
) -> None:
    number = uploaded[0]["id"]
    ended = local.run("retry", number)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{number}: is ready, not failed or rejected; nothing was done\n"


def test_retry_sends_a_damaged_one_through_processing_again(
    local: LocalStack, files: Sequence[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(files[0].read_bytes()[:2000])
    number = json.loads(local.run("upload", broken, "--json").stdout)[0]["id"]
    before = json.loads(local.run("show", number, "--json").stdout)
    ended = local.run("retry", number, "999999999")
    assert ended.returncode == 1
    assert ended.stdout == f"{number}: is processed again\n"
    assert ended.stderr == "999999999: no attachment has this id\n"
    deadline = time.monotonic() + 30
    while True:
        after = json.loads(local.run("show", number, "--json").stdout)
        if after["state"] == "ready" and after["processed_at"] != before["processed_at"]:
            break
        assert time.monotonic() < deadline, after
    assert after["revision"] == before["revision"] + 1


def test_a_token_works_from_its_creation_until_it_is_revoked(
    local: LocalStack, files: Sequence[Path]
) -> None:
    created = local.run("organizations", "create", "Acme")
    organization_id = created.stdout.strip()
    assert organization_id.isdigit()
    made = local.run("tokens", "create", "--organization", organization_id, "--name", "CI")
    token = made.stdout.removesuffix("\n")
    assert token
    assert not any(letter.isspace() for letter in token)
    assert len(made.stderr.splitlines()) == 1
    variables = {
        "ATTACHMENTS_API_URL": local.ready["api_url"],
        "ATTACHMENTS_TOKEN": token,
        "ATTACHMENTS_ORGANIZATION_ID": organization_id,
    }
    assert local.run_bare("upload", files[2], **variables).returncode == 0

    arguments = ("tokens", "list", "--organization", organization_id)
    [listed] = json.loads(local.run(*arguments, "--json").stdout)
    assert (listed["name"], listed["revoked_at"]) == ("CI", None)
    assert (listed["scope"], listed["expires_at"]) == ("admin", None)
    assert f"token {listed['id']}," in made.stderr
    assert token not in str(listed)
    assert local.run("tokens", "revoke", str(listed["id"])).returncode == 0
    again = local.run("tokens", "revoke", str(listed["id"]))
    assert again.returncode == 1
    assert "not revoked yet" in again.stderr
    assert "CI" in local.run(*arguments).stdout

    refused = local.run_bare("upload", files[2], **variables)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == (
        "attachments: the API does not know this token (401): it is wrong, revoked or expired\n"
    )


def test_a_token_may_end_and_be_limited(local: LocalStack, files: Sequence[Path]) -> None:
    organization_id = local.run("organizations", "create", "Limited").stdout.strip()
    create = ("tokens", "create", "--organization", organization_id)
    year = datetime.now(UTC).year + 2
    made = [
        local.run(*create, *options)
        for options in (
            ("--scope", "read", "--expires", "90d"),
            ("--scope", "read", "--scope", "write"),
            ("--scope", "write,read", "--expires", f"{year}-01-31T12:00+02:00"),
        )
    ]
    assert [len(each.stdout.split()) for each in made] == [1, 1, 1]
    assert [len(each.stderr.splitlines()) for each in made] == [1, 1, 1]
    assert "scope read, valid until 2" in made[0].stderr
    assert "valid until it is revoked" in made[1].stderr

    listing = ("tokens", "list", "--organization", organization_id)
    listed = json.loads(local.run(*listing, "--json").stdout)
    assert [each["scope"] for each in listed] == ["read", "write", "write"]
    assert [each["last_used_at"] for each in listed] == [None, None, None]
    created, expires = (
        datetime.fromisoformat(listed[0][name]) for name in ("created_at", "expires_at")
    )
    assert expires - created == timedelta(days=90)
    assert listed[1]["expires_at"] is None
    assert datetime.fromisoformat(listed[2]["expires_at"]) == datetime(year, 1, 31, 10, tzinfo=UTC)
    table = local.run(*listing).stdout
    assert f"{year}-01-31" in table
    assert "write" in table

    refused = local.run_bare(
        "upload",
        files[2],
        "--json",
        ATTACHMENTS_API_URL=local.ready["api_url"],
        ATTACHMENTS_TOKEN=made[0].stdout.strip(),
        ATTACHMENTS_ORGANIZATION_ID=organization_id,
    )
    assert refused.returncode == 1
    assert "You are not authorized to access this resource" in refused.stdout


def test_a_token_for_an_organization_that_does_not_exist_is_refused(local: LocalStack) -> None:
    ended = local.run("tokens", "create", "--organization", "424242")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "attachments: --organization: there is no organization 424242\n"


def test_migrate_may_be_repeated(local: LocalStack) -> None:
    assert local.run("migrate").returncode == 0
