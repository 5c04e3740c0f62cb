"""Options that many commands have, and the rules of their values."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from deploy.commands.environment import Misused

Word = TypeVar("Word", bound=str)

MAX_ID = 2**63 - 1
LOCAL = Path(".attachments")

DataDir = Annotated[
    Path, typer.Option(help="Where `attachments up` keeps the local stack, used if nothing is set.")
]
AttachmentId = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID)]
Organization = Annotated[int, typer.Option(min=1, max=MAX_ID, help="The organization's id.")]
OneOrganization = Annotated[
    int | None, typer.Option(min=1, max=MAX_ID, help="Only this one; all by default.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def check_name(option: str, text: str) -> str:
    """Give a name without the space around it. Raises Misused if nothing is left, or no text."""
    name = text.strip()
    if not name:
        raise Misused(f"{option} can't be blank")
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of the command line that are no UTF-8
        raise Misused(f"{option} must be UTF-8") from None
    return name


def check_word(option: str, word: str | None, allowed: tuple[Word, ...]) -> Word | None:
    """Give a word that is one of a list, or None. Raises Misused, which names the list."""
    if word is None:
        return None
    for each in allowed:
        if each == word:
            return each
    raise Misused(f"{option}: must be one of {', '.join(allowed)}")
