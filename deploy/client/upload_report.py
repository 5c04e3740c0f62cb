"""Output of `attachments upload`: a table on a terminal, one line per file in a pipe, or JSON."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any

from deploy.client.upload import Uploaded
from deploy.commands.lines import fit, shorten
from deploy.commands.output import plain
from shared.facts import DECLARED, PIXELS

WORD = 20
"""Maximum width, in terminal cells, at which an id, state or code is printed. The values of this
service are shorter, but a wrong address may lead to another API.
"""

UNITS = ("B", "kB", "MB", "GB", "TB")


def uploaded_json(item: Uploaded) -> dict[str, Any]:
    """Return the result of a file as `upload --json` shows it. `seconds` has 3 decimals."""
    return {
        "file": str(item.file),
        "id": item.id,
        "state": item.state,
        "reason": item.reason,
        **{name: getattr(item.facts, name) for name in (*DECLARED, *PIXELS)},
        "url": item.url,
        "thumb": item.thumb,
        "seconds": round(item.seconds, 3),
    }


def print_uploaded(items: Sequence[Uploaded]) -> None:
    """Print the results: on a terminal a table and the addresses, otherwise one line per file."""
    if sys.stdout.isatty():
        lines = [*table(items, shutil.get_terminal_size().columns), "", *addresses(items)]
    else:
        lines = [line(item) for item in items]
    sys.stdout.writelines(f"{each}\n" for each in lines)


def line(item: Uploaded) -> str:
    """Return the result of a file as one line.

    Two spaces separate the fields. Only the last field, the file's name, may contain spaces. If the
    upload did not succeed, a sentence with the reason follows the name.
    """
    fields = (
        item.id,
        item.state,
        _reason(item),
        item.facts.size,
        _pixels(item),
        f"{item.seconds:.2f}",
        item.facts.content_type,
        item.url,
        item.thumb,
    )
    words = ["".join(plain(each).split()) or "-" for each in fields]
    failed = not item.succeeded and item.reason is not None
    detail = f": {plain(item.reason['detail'])}" if failed and item.reason else ""
    return "  ".join([*words, f"{plain(item.file)}{detail}"])


def table(items: Sequence[Uploaded], width: int) -> list[str]:
    """Return the results as a table: one line per file, each at most `width` cells wide.

    Long names are shortened.
    """
    columns: list[tuple[str, list[str]]] = [
        (">id", [shorten(plain(item.id), WORD) for item in items]),
        ("<state", [shorten(plain(item.state), WORD) for item in items]),
        ("<reason", [shorten(_reason(item), WORD) for item in items]),
        (">size", [_size(item.facts.size) for item in items]),
        (">W×H", [_pixels(item) for item in items]),
        (">seconds", [f"{item.seconds:.2f}" for item in items]),
    ]
    columns.append(("<file", [plain(item.file) for item in items]))
    return fit(columns, width, spare=(">W×H", ">seconds"))


def addresses(items: Sequence[Uploaded]) -> list[str]:
    """Return lines with each file's reason and addresses. Addresses are never shortened."""
    lines = []
    for item in items:
        lines.append(" ".join(filter(None, (item.id and plain(item.id), plain(item.file)))))
        if item.reason is not None:
            lines.append(f"  {plain(item.reason['detail'])}")
        if item.succeeded:
            lines += [f"  {plain(each)}" for each in (item.url, item.thumb) if each is not None]
    return lines


def _reason(item: Uploaded) -> str:
    return plain(item.reason["code"] if item.reason else None)


def _pixels(item: Uploaded) -> str:
    width, height = item.facts.width, item.facts.height
    return f"{width}×{height}" if width and height else "-"


def _size(size: int | None) -> str:
    """Format a number of bytes with up to four digits and a decimal unit (powers of 1000)."""
    if size is None:
        return "-"
    number = float(size)
    for unit in UNITS[:-1]:
        if number < 999.95:  # 999.95 and more would be rounded to 1000.0, which has five digits
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {UNITS[-1]}"
