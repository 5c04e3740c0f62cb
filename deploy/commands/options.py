"""Options that several commands share, and the checks of their values."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from deploy.commands.environment import Misused
from shared.keys import MAX_ID

Word = TypeVar("Word", bound=str)

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
    """Return a name without surrounding space.

    Raises Misused if the name is blank or not UTF-8.
    """
    name = text.strip()
    if not name:
        raise Misused(f"{option} can't be blank")
    try:
        name.encode()
    except UnicodeEncodeError:  # Python turns other bytes into surrogates
        raise Misused(f"{option} must be UTF-8") from None
    return name


def check_word(option: str, word: str | None, allowed: tuple[Word, ...]) -> Word | None:
    """Return `word` if it is None or allowed; otherwise raise Misused with the allowed words."""
    if word is None:
        return None
    for each in allowed:
        if each == word:
            return each
    raise Misused(f"{option}: must be one of {', '.join(allowed)}")
