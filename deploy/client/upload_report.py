"""How `attachments upload` tells what became of files: a table, a line each in a pipe, or JSON."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any

from deploy.client.upload import Uploaded
from deploy.commands.lines import fit, shorten
from deploy.commands.output import plain

WORD = 20
"""Cells of an id, a state and a code at most: no code of ours is wider, but the API sends them."""

UNITS = ("B", "kB", "MB", "GB", "TB")


def uploaded_json(item: Uploaded) -> dict[str, Any]:
    """Write what became of a file as `upload --json` shows it."""
    return {
        "file": str(item.file),
        "id": item.id,
        "state": item.state,
        "reason": item.reason,
        "content_type": item.content_type,
        "size": item.size,
        "width": item.width,
        "height": item.height,
        "url": item.url,
        "thumb": item.thumb,
        "seconds": round(item.seconds, 3),
    }


def print_uploaded(items: Sequence[Uploaded]) -> None:
    """Print what became of files: to a terminal a table and the addresses, else a line each."""
    if sys.stdout.isatty():
        lines = [*table(items, shutil.get_terminal_size().columns), "", *addresses(items)]
    else:
        lines = [line(item) for item in items]
    sys.stdout.writelines(f"{each}\n" for each in lines)


def line(item: Uploaded) -> str:
    """Write all about a file on one line; only the file's name, at its end, may have spaces.

    Where it did not succeed the reason's sentence follows the name.
    """
    fields = (
        item.id, item.state, _reason(item), item.size, _pixels(item), f"{item.seconds:.2f}",
        item.content_type, item.url, item.thumb,
    )  # fmt: skip
    words = ["".join(plain(each).split()) or "-" for each in fields]
    failed = not item.succeeded and item.reason is not None
    told = f": {plain(item.reason['detail'])}" if failed and item.reason else ""
    return "  ".join([*words, f"{plain(item.file)}{told}"])


def table(items: Sequence[Uploaded], width: int) -> list[str]:
    """Write a table of one line a file, no wider than `width` cells; long names are shortened."""
    columns: list[tuple[str, list[str]]] = [
        (">id", [shorten(plain(item.id), WORD) for item in items]),
        ("<state", [shorten(plain(item.state), WORD) for item in items]),
        ("<reason", [shorten(_reason(item), WORD) for item in items]),
        (">size", [_size(item.size) for item in items]),
        (">W×H", [_pixels(item) for item in items]),
        (">seconds", [f"{item.seconds:.2f}" for item in items]),
    ]
    columns.append(("<file", [plain(item.file) for item in items]))
    return fit(columns, width, spare=(">W×H", ">seconds"))


def addresses(items: Sequence[Uploaded]) -> list[str]:
    """Write the addresses of each file, each alone on a line, however long; and its reason."""
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
    return f"{item.width}×{item.height}" if item.width and item.height else "-"


def _size(size: int | None) -> str:
    """Write a number of bytes in three or four digits and a unit of powers of 1000."""
    if size is None:
        return "-"
    number = float(size)
    for unit in UNITS[:-1]:
        if number < 999.95:  # what is not rounded to 1000.0
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {UNITS[-1]}"
