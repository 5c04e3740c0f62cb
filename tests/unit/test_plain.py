"""Text is escaped in terminal output, so that it cannot control the terminal. JSON keeps
the text.
"""

import io
import json
import logging
import os
import sys
import unicodedata
from pathlib import Path
from unittest import mock

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli import show_bug
from deploy.commands import output
from deploy.local.console import Console
from shared import log
from shared.plain import escape, escape_lines
from tests.support.hostile import FORBIDDEN, HOSTILE, raw

# A fixture replaces this function in all tests, so this module keeps the original function.
configure_logging = log.configure_logging


@pytest.mark.slow
def test_every_forbidden_character_is_escaped_and_no_other() -> None:
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        if unicodedata.category(letter) in FORBIDDEN:
            assert escape(letter) != letter
        elif escape(letter) != letter:
            assert not letter.isprintable() or unicodedata.category(letter) in ("Mn", "Lo"), number


@given(st.text())
def test_escaped_text_is_the_same_text_in_json(text: str) -> None:
    quoted = json.dumps(text, ensure_ascii=False)

    assert json.loads(escape_lines(quoted)) == text
    assert not raw(escape(text), allowed="")
    assert not raw(escape_lines(text))


@pytest.mark.parametrize(
    "text", ["", "photo.png", "Übersicht März 写真.jpg", "❤️ 👍🏽", "a\\b", "é"]
)
def test_usual_text_is_shown_as_it_is(text: str) -> None:
    assert escape(text) == text


def test_hostile_characters_are_shown_in_ascii() -> None:
    assert escape("a\u202eb\x1b\x9b\n\U000e0041\udcff") == (
        r"a\u202eb\u001b\u009b\n\udb40\udc41\udcff"
    )


def test_json_is_lossless(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": HOSTILE, "nested": [{HOSTILE: Path(os.fsdecode(b"/caf\xe9"))}], "n": 1.5}

    output.print_json(value)

    out = capsys.readouterr().out
    assert not raw(out)
    assert json.loads(out) == {
        "name": HOSTILE,
        "nested": [{HOSTILE: "/caf\udce9"}],
        "n": 1.5,
    }


class Strange:
    """A value whose `repr` contains control characters."""

    def __repr__(self) -> str:
        return HOSTILE


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.usefixtures("unchanged_logging")
def test_no_log_line_can_command_a_terminal(form: str) -> None:
    written = io.StringIO()
    with mock.patch.object(sys, "stderr", written):
        configure_logging("info", form)
        logger = structlog.get_logger("hostile")
        logger.info(HOSTILE, name=HOSTILE, names=[HOSTILE], strange=Strange(), count=3, none=None)
        logging.getLogger("library").warning("%s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logger.exception("failed", name=HOSTILE)
            logging.getLogger("library").exception("failed %s", HOSTILE)

    assert "Traceback" in written.getvalue()
    assert "count" in written.getvalue()
    assert not raw(written.getvalue())
    if form == "json":
        first, *_ = map(json.loads, written.getvalue().splitlines())
        assert first["event"] == first["name"] == HOSTILE


@pytest.mark.usefixtures("unchanged_logging")
def test_on_a_terminal_the_only_commands_in_the_log_are_colours() -> None:
    written = io.StringIO()
    with (
        mock.patch.object(sys, "stderr", written),
        mock.patch.object(written, "isatty", return_value=True),
    ):
        configure_logging("info", "console")
        structlog.get_logger("hostile").warning(HOSTILE, name=HOSTILE)

    text = written.getvalue()
    assert "\x1b[" in text
    assert "\x1b[31m\\u001b" not in text
    assert r"\u001b[31m" in text
    assert not raw(text, allowed="\n\x1b")
    assert text.count("\n") == 1


def test_lines_of_processes_are_passed_on_without_commands() -> None:
    reading, writing = os.pipe()
    write = os.write
    with mock.patch("deploy.local.console.os.write", lambda _, line: write(writing, line)):
        console = Console()
        hostile = HOSTILE.encode(errors="surrogatepass")
        console.write_line("api", hostile.replace(b"\n", b"") + b" end")
        console.write_line("worker", b"a\xff\x9b\tb")
        console.print_lines(f"{HOSTILE} ours")
        console.close()
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        out = stream.read().decode()

    assert not raw(out)
    assert "api" in out
    assert "end\n" in out
    assert r"a\xff\x9b" in out


def test_a_traceback_of_a_bug_cannot_command_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError as error:
        show_bug(type(error), error, error.__traceback__)

    shown = capsys.readouterr().err
    assert "RuntimeError" in shown
    assert not raw(shown)
