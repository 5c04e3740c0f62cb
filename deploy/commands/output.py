"""Output of commands: tables and JSON on standard output, progress on standard error."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from deploy.client.upload import Progress
from shared.plain import escape, escape_lines

SHOWN_BARS = 8
WIDTH_ELSEWHERE = 160
"""Width, in characters, of a table that is not written to a terminal."""


def plain(value: object) -> str:
    """Return a value as one line without control sequences; None becomes a dash."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return escape(str(value))


def print_json(value: object) -> None:
    """Print indented JSON to standard output.

    Control characters are escaped, so that a terminal does not execute them; a parser still gets
    the same text. The standard `json` is used because orjson cannot write file names that are not
    UTF-8.
    """
    text = json.dumps(value, default=_json, ensure_ascii=False, indent=2)
    sys.stdout.write(escape_lines(text) + "\n")


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def width() -> int:
    """Return the width of the terminal in characters; WIDTH_ELSEWHERE if there is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_ELSEWHERE


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to standard output. Long values are wrapped, never cut."""
    table = Table(*columns)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text(plain(value)) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_ELSEWHERE
    console.print(table)


@contextmanager
def upload_bars(sizes: Sequence[int]) -> Iterator[Callable[[Progress], None] | None]:
    """Show one progress bar for the bytes of all files, and one for each file that is being sent.

    Yields the function to call with each Progress; None if standard error is not a terminal.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield None
        return
    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    sent = [0] * len(sizes)
    finished = 0
    shown: dict[int, TaskID] = {}
    with bars:
        everything = bars.add_task(f"0 of {len(sizes)} done", total=sum(sizes))

        def on_progress(step: Progress) -> None:
            nonlocal finished
            if step.sending and step.number not in shown and len(shown) < SHOWN_BARS:
                name = plain(step.file.name)
                shown[step.number] = bars.add_task(name, total=sizes[step.number])
            if step.number in shown:
                if step.sending:
                    bars.update(shown[step.number], completed=step.sent)
                else:
                    bars.remove_task(shown.pop(step.number))
            sent[step.number] = sizes[step.number] if step.finished else step.sent
            finished += step.finished
            bars.update(
                everything, completed=sum(sent), description=f"{finished} of {len(sizes)} done"
            )

        yield on_progress
