"""The page on commands lists each command with all its options, and no other command."""

import re
from collections.abc import Iterator
from pathlib import Path

import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from deploy.cli import app

PAGE = Path(__file__).parents[2] / "deploy/docs/commands.md"

EVERYWHERE = {"--help", "--data-dir"}
"""Options that the page explains once, for all commands."""


def commands(group: TyperGroup, prefix: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Yield each visible command with its full name, at every level of command groups."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{prefix}{name} ")
        elif isinstance(command, TyperCommand) and not command.hidden:
            yield prefix + name, command


def documented() -> dict[str, str]:
    """Return the first cell of each row in the table of commands, by the command's name."""
    cells = re.findall(r"^\| (`attachments .*?) \| ", PAGE.read_text(), re.MULTILINE)
    found: dict[str, str] = {}
    for cell in cells:
        match = re.match(r"`attachments ((?:[a-z]+ ?)+)", cell)
        assert match is not None, cell
        found[match[1].strip()] = cell
    return found


def test_every_command_is_on_the_page_and_no_other() -> None:
    tree = typer.main.get_command(app)
    assert isinstance(tree, TyperGroup)
    assert sorted(documented()) == sorted(name for name, _ in commands(tree))


def test_every_option_of_a_command_is_on_the_page() -> None:
    tree = typer.main.get_command(app)
    assert isinstance(tree, TyperGroup)
    cells = documented()
    missing = {
        f"{name} {option.opts[0]}"
        for name, command in commands(tree)
        for option in command.params
        if isinstance(option, TyperOption) and option.opts[0] not in EVERYWHERE
        if option.opts[0] not in cells[name]
    }
    assert missing == set()
