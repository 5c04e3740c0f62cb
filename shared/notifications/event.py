"""The event into which the records of every dialect are parsed."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_plus

from shared.keys import parse_key

MessageSource = Literal["webhook", "sns", "sqs"]
"""The ways in which a message may be received."""

Effect = Literal["recorded", "no_effect", "ignored", "unreadable"]
"""The effects that a record of a message may have: see `shared.intake.effects`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadEvent:
    """A store's report that an object was created or removed. It may be wrong or outdated.

    `key` is decoded, without the bucket. `etag` has no quotes. `sequencer` is in upper case, or
    None if the sequencers of the dialect cannot be compared. `attachment_id` is read from the key;
    it is None if the key is not that of an original of this service.
    """

    bucket: str
    key: str
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    removed: bool = False
    attachment_id: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named = parse_key(self.key)
        found = named[0] if named is not None and named[1] == "original" else None
        object.__setattr__(self, "attachment_id", found)


def decode_form(key: str) -> str:
    """Decode a key that was encoded as in the query of a form: `+` and `%XX`, once."""
    if "%" not in key and "+" not in key:  # the usual case: a key of this service needs no encoding
        return key
    # Bytes that are not UTF-8 become surrogates, which no key of this service contains.
    return unquote_plus(key, errors="surrogateescape")
