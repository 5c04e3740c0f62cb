"""Tables of the benchmarks. A row has two compared figures, their ratio, and the aim for it."""

from collections.abc import Sequence

from rich.table import Table


def make_table(title: str, columns: Sequence[str]) -> Table:
    """Make a table. The first column names the measured thing, the other columns are figures."""
    table = Table(title=title, title_justify="left", title_style="bold", min_width=72)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def judged(text: str, *, reached: bool) -> str:
    """Colour a figure green if it reaches its aim, otherwise red."""
    return f"[{'green' if reached else 'red'}]{text}[/]"


def at_most(value: float, aim: float, *, unit: str = "×", digits: int = 2) -> tuple[str, str]:
    """Return two cells of a table: a figure that should be small, and its aim."""
    return judged(f"{value:.{digits}f} {unit}", reached=value <= aim), f"≤ {aim:g} {unit}"


def at_least(value: float, aim: float, *, unit: str = "×", digits: int = 2) -> tuple[str, str]:
    """Return two cells of a table: a figure that should be large, and its aim."""
    return judged(f"{value:.{digits}f} {unit}", reached=value >= aim), f"≥ {aim:g} {unit}"
