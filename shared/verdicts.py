"""The verdicts of the scanner about an object."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

Verdict = Literal["clean", "infected", "unscannable", "unscanned"]
"""`clean`: nothing was found. `infected`: a signature matched. `unscannable`: the object, or what
is in it, exceeds a limit. `unscanned`: the scanner did not scan it in any attempt."""

VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)

MAX_SIGNATURE: Final = 255
"""Longest name of a signature, in characters, that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The result of scanning one object, or of not scanning it.

    `verdict` is None if the object was not to be scanned. `signature` is the name that the scanner
    gave, or None.
    """

    verdict: Verdict | None
    signature: str | None = None


NOT_SCANNED: Final = Scan(verdict=None)
