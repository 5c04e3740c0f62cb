"""What every dialect is normalised to."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_plus

MessageSource = Literal["webhook", "sns", "sqs"]
"""How a message came in."""

Effect = Literal["recorded", "no_effect", "ignored", "unreadable"]
"""What became of one record of a message (`shared.intake.effects`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadEvent:
    """A hint that an object was created or removed; what is true, the store says when asked.

    `key` is decoded, without the bucket. `sequencer` is given only where the dialect's may be
    compared (see each dialect), in upper case; `etag` has no quotes.
    """

    bucket: str
    key: str
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    removed: bool = False


def decode_form(key: str) -> str:
    """Decode a key once that was encoded as in the query of a form: `+` and `%XX`."""
    # What is no UTF-8 stays apart from everything that is: it can match no key of ours.
    return unquote_plus(key, errors="surrogateescape")
