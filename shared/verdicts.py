"""The verdicts of the malware scanner about an object."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

Verdict = Literal["clean", "infected", "unscannable", "unscanned"]
"""`clean`: nothing was found. `infected`: a signature of malware matched. `unscannable`: the object
or a file in it exceeds a limit of the scanner. `unscanned`: no attempt could scan the object."""

VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)

MAX_SIGNATURE: Final = 255
"""The longest name of a malware signature that is stored, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The result of scanning one object.

    `verdict` is None if the object was not meant to be scanned. `signature` is the name of the
    malware signature that matched, or None.
    """

    verdict: Verdict | None
    signature: str | None = None


NOT_SCANNED: Final = Scan(verdict=None)
