"""The event that every dialect's records are normalised to."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_plus

MessageSource = Literal["webhook", "sns", "sqs"]
"""The way by which a message was received."""

Effect = Literal["recorded", "no_effect", "ignored", "unreadable"]
"""The effect of one record of a message (`shared.intake.effects`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadEvent:
    """A hint that an object was created or removed; only the store's own answer is certain.

    `key` is decoded, without the bucket. `sequencer` is in upper case; it is None if the dialect's
    sequencers cannot be compared (see each dialect). `etag` has no quotes.
    """

    bucket: str
    key: str
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    removed: bool = False


def decode_form(key: str) -> str:
    """Decode once a key that was encoded as in the query of a form: `+` and `%XX`."""
    # Bytes that are not UTF-8 become surrogates, so such a key can match no key of ours.
    return unquote_plus(key, errors="surrogateescape")
