"""The output of `attachments up`: faults are warnings, and a failed write loses only its line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import os, resource, time
from deploy.local.console import Console

{before}
console = Console(as_json=True)
{lines}
console.close()
"""

TORN_BYTES = 10


def printed(folder: Path, *, before: str = "", lines: str) -> list[str]:
    """Run a program that writes to a Console. Return the lines of its standard output, a file."""
    program = PROGRAM.format(before=before, lines=lines)
    file = folder / "printed"
    with file.open("wb") as stdout:
        subprocess.run([sys.executable, "-c", program], stdout=stdout, check=True)
    return file.read_text().splitlines()


def test_a_process_that_ended_is_a_warning(tmp_path: Path) -> None:
    lines = "console.print_lines('stopping'); console.warn('worker ended')"
    found = [json.loads(line) for line in printed(tmp_path, lines=lines)]
    levels = {each["event"]: each["level"] for each in found}
    assert levels == {"stopping": "info", "worker ended": "warning"}


def test_a_full_pipe_that_does_not_block_loses_no_line() -> None:
    before = "os.set_blocking(1, False)"
    lines = "for number in range(1000): console.write_line('api', b'x' * 100)"
    program = PROGRAM.format(before=before, lines=lines)
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert len(ended.stdout.splitlines()) == 1000


def test_after_a_write_that_failed_lines_are_written_again(tmp_path: Path) -> None:
    before = f"""
ours, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ({TORN_BYTES}, most))
"""
    lines = f"""
console.print_lines("torn")
while os.fstat(1).st_size < {TORN_BYTES}:
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (ours, most))
console.print_lines("seen")
"""
    found = printed(tmp_path, before=before, lines=lines)
    assert len(found) == 2
    assert json.loads(found[-1])["event"] == "seen"
