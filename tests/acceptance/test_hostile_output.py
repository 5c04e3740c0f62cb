"""Every command escapes hostile text, from any field, before it prints the text to the terminal.

The list of commands comes from the command line's parser. So a new command makes this test fail
until the test knows how to run it.
"""

import os
from pathlib import Path

import pytest

from deploy.cli import run
from tests.support.commands import EVERY
from tests.support.hostile import raw
from tests.support.hostile_runs import ARGUMENT, RUNS
from tests.support.service import Service


def test_every_command_has_its_runs() -> None:
    assert sorted(RUNS) == EVERY


@pytest.mark.parametrize("words", EVERY)
def test_a_usage_error_repeats_nothing_raw(
    words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ATTACHMENTS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ATTACHMENTS_DATABASE_URL", f"no-address{ARGUMENT}")
    for arguments in ([f"--{ARGUMENT}"], [ARGUMENT], [ARGUMENT, ARGUMENT, "--data-dir", ARGUMENT]):
        assert run([*words.split(), *arguments]) in (1, 2)
        shown = capsys.readouterr()
        assert shown.err
        assert not raw(shown.out + shown.err), arguments
    assert run([ARGUMENT]) == 2
    assert not raw(capsys.readouterr().err)


@pytest.mark.parametrize("words", EVERY)
async def test_hostile_text_in_every_field_is_escaped(
    words: str, service: Service, tmp_path: Path
) -> None:
    for ended in await RUNS[words](service, tmp_path):
        assert not raw(ended.raw.decode() + ended.err), ended
        assert "Traceback" not in ended.err
