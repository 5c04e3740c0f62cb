"""The report of a soak test: the number of breaches of each invariant, then the injected faults."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from shared.attachments import Attachment
from tests.soak.verdict import INVARIANTS

SHOWN = 10
"""The maximum number of findings that are listed for one invariant."""


def print_invariants(console: Console, broken: Mapping[str, Sequence[str]]) -> bool:
    """Print how often each invariant is broken, with the findings; return True if none is
    broken.
    """
    table = Table("invariant", "broken", title="invariants")
    for invariant in INVARIANTS:
        count = len(broken[invariant])
        table.add_row(invariant, f"[red]{count}[/red]" if count else "0")
    console.print(table)
    for invariant in INVARIANTS:
        if broken[invariant]:
            console.print(f"{invariant}:", style="red")
        for about in broken[invariant][:SHOWN]:
            console.print(f"  {about}", markup=False, soft_wrap=True)
        if (more := len(broken[invariant]) - SHOWN) > 0:
            console.print(f"  and {more} more")
    return not any(broken.values())


def states(rows: Mapping[int, Attachment]) -> Counter[str]:
    """Count rows by state and reason. Deleted rows count as a separate state."""
    return Counter(
        "deleted" if row.deleted_at else f"{row.state} {row.reason or ''}".strip()
        for row in rows.values()
    )


def describe(counts: Mapping[str, int]) -> str:
    """Return the counts as one line of text, with the largest count first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered) or "none"


def spread(delays_s: Sequence[tuple[float, int]]) -> str:
    """Return the median, p99 and maximum of delays as text, with the attachment that waited
    longest.
    """
    if not delays_s:
        return "none"
    ordered = sorted(delays_s)
    middle, late = (ordered[int(len(ordered) * share)][0] for share in (0.5, 0.99))
    longest_s, attachment_id = ordered[-1]
    return (
        f"{len(ordered)} uploads: median {middle:.1f} s, p99 {late:.1f} s,"
        f" longest {longest_s:.1f} s (attachment {attachment_id})"
    )
