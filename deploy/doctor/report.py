"""Print the verdicts as a table or as JSON, and show the name of the running check."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.commands.output import WIDTH_ELSEWHERE, plain
from deploy.doctor.examination import Status, Verdict

STYLES = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.FAILED: "bold red",
    Status.SKIPPED: "dim",
}


def is_healthy(verdicts: Mapping[str, Verdict]) -> bool:
    """Return True if no check failed; warnings do not count as failures."""
    return all(verdict.status != Status.FAILED for verdict in verdicts.values())


def to_json(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """Return the verdicts as `doctor --json` shows them.

    A check has `seconds` only if a time was measured.
    """
    checks = []
    for name, verdict in verdicts.items():
        shown: dict[str, Any] = {
            "name": name,
            "status": verdict.status.value,
            "found": verdict.found,
            "mend": verdict.mend,
        }
        if verdict.seconds is not None:
            shown["seconds"] = round(verdict.seconds, 3)
        checks.append(shown)
    return {"healthy": is_healthy(verdicts), "checks": checks}


def print_verdicts(verdicts: Mapping[str, Verdict]) -> None:
    """Print a table of the findings and a line with the totals.

    Each remedy is below its finding.
    """
    table = Table("check", "status", "found, and the remedy", show_lines=False)
    table.columns[2].overflow = "fold"
    for name, verdict in verdicts.items():
        lines = [Text(plain(line)) for line in verdict.found.splitlines()]
        if verdict.mend is not None:
            lines.append(Text(f"→ {plain(verdict.mend)}", style="cyan"))
        status = Text(verdict.status.value, style=STYLES[verdict.status])
        table.add_row(name, status, Text("\n").join(lines))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_ELSEWHERE
    console.print(table)
    console.print(_sum_up(verdicts))


def _sum_up(verdicts: Mapping[str, Verdict]) -> str:
    counts = {
        status: [each.status for each in verdicts.values()].count(status) for status in Status
    }
    parts = [f"{count} {status.value}" for status, count in counts.items() if count]
    return f"{'healthy' if is_healthy(verdicts) else 'not healthy'}: {', '.join(parts)}"


@contextmanager
def progress(wait_s: float) -> Iterator[Callable[[str], None]]:
    """Show the running check's name on a terminal; yield a function that sets the name."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _name: None
        return
    with console.status("settings") as shown:

        def show(name: str) -> None:
            waits = f" (up to {wait_s:.0f} s)" if name in ("event", "thumbnail") else ""
            shown.update(f"{name}{waits}")

        yield show
