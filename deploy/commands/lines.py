"""Tables with one line per row that fit the width of a terminal."""

from collections.abc import Sequence

from rich.cells import cell_len

LEAST_NAME = 16
"""Minimum width of the last column, in terminal cells. If there is less room, other columns are
left out (see `fit`).
"""

GAP = "  "

Column = tuple[str, Sequence[str]]
"""A column: its title and its values. The title begins with `<` to align the values left, or with
`>` to align them right."""


def fit(columns: Sequence[Column], width: int, *, spare: Sequence[str] = ()) -> list[str]:
    """Return a table: a line with the titles, then a line for each row.

    If the lines would be longer than `width` cells, two things are done. First, the columns whose
    titles are in `spare` are left out, one by one in this order. Then the values in the last column
    are shortened. Values must be escaped already (`output.plain`).
    """
    *kept, (last, names) = columns
    for title in spare:
        if width - _cells(kept) < LEAST_NAME:
            kept = [column for column in kept if column[0] != title]
    room = max(LEAST_NAME, width - _cells(kept))
    kept.append((last, [shorten(name, room) for name in names]))
    padded = []
    for title, values in kept:
        cells = max(map(cell_len, [title[1:], *values]))
        padded.append([_padded(each, cells, title[0]) for each in (title[1:], *values)])
    return [GAP.join(row).rstrip() for row in zip(*padded, strict=True)]


def shorten(text: str, cells: int) -> str:
    """Shorten a text to `cells` by cutting out its middle, so that a file's extension remains."""
    if cell_len(text) <= cells:
        return text
    end = ""
    for letter in reversed(text):
        if cell_len(letter + end) > (cells - 1) // 2:
            break
        end = letter + end
    begin = ""
    for letter in text:
        if cell_len(begin + letter) > cells - 1 - cell_len(end):
            break
        begin += letter
    return f"{begin}…{end}"


def _cells(columns: Sequence[Column]) -> int:
    """Return the width of columns in terminal cells, with the gap after each column."""
    return sum(max(map(cell_len, [title[1:], *values])) + len(GAP) for title, values in columns)


def _padded(text: str, cells: int, side: str) -> str:
    space = " " * (cells - cell_len(text))
    return space + text if side == ">" else text + space
