"""The stable codes that say why an attachment is `rejected` or `failed`, or what is amiss with it.

Final ones are the file's doing and are never tried again; the others were tried again until the
attempts were used up. `attachments retry` takes up whatever has a reason.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

RejectedCode = Literal["too_large", "reserved_type", "type_not_allowed"]
"""Why a file may not be kept."""

FileCode = Literal["damaged", "too_expensive", "encrypted", "unsupported"]
"""What a decoder may say of a file."""

DecoderCode = Literal["decoder_died", "decoder_stalled", "decoder_fault"]
"""How a decoder or the libmagic process failed."""

UndecodableCode = Literal[FileCode, "decoder_died"]
"""Why a file that is kept has no thumbnail, or not the whole of it."""

CopyCode = Literal["source_missing", "copy_failed"]
"""Why a copy could not be made."""

ReasonCode = Literal[
    RejectedCode,
    UndecodableCode,
    "missing",
    "store_unavailable",
    "store_refused",
    "changing",
    DecoderCode,
    CopyCode,
    "attempts_used_up",
    "internal_error",
]
"""What this release writes. A row may have a code of another release that runs meanwhile."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence for people, shown in `meta.reason.detail`, and whether it is `final`."""

    sentence: str
    final: bool


def _final(sentence: str) -> Reason:
    return Reason(sentence, final=True)


def _tried_again(sentence: str) -> Reason:
    return Reason(sentence, final=False)


REASONS: Final[dict[ReasonCode, Reason]] = {
    # The file may not be kept: always `rejected`.
    "too_large": _final("The object is larger than an upload may be."),
    "reserved_type": _final("Files of this type are not accepted."),
    "type_not_allowed": _final("The client that created the attachment does not allow this type."),
    # The file is kept, and `ready`. Only a damaged one can have a thumbnail all the same.
    "damaged": _final("The file is damaged or incomplete; its thumbnail, if any, shows the rest."),
    "too_expensive": _final("The file would take too much time or memory to decode."),
    "encrypted": _final("The document is encrypted, so it has no thumbnail."),
    "unsupported": _final("The file is of a variant that is not decoded, so it has no thumbnail."),
    "decoder_died": _tried_again("The decoder died of this file in every attempt."),
    # Ours, after all attempts: `failed`.
    "missing": _tried_again("The object is no longer in the store."),
    "store_unavailable": _tried_again("The store could not be reached in any of the attempts."),
    "store_refused": _tried_again("The store refused access to the object."),
    "changing": _tried_again("The object kept changing while it was read."),
    "decoder_stalled": _tried_again("The decoder came to no end in time in any of the attempts."),
    "decoder_fault": _tried_again("The decoder could not be run."),
    "source_missing": _tried_again("The object that temp_url names is no longer in the store."),
    "copy_failed": _tried_again("The object that temp_url names could not be copied."),
    "attempts_used_up": _tried_again("Processing did not come to an end in any of the attempts."),
    "internal_error": _tried_again("Processing failed on an error of the service."),
}

_SENTENCES: Final[dict[str, str]] = {code: each.sentence for code, each in REASONS.items()}

UNDECODABLE: Final[frozenset[FileCode]] = frozenset(get_args(FileCode))

NO_OBJECT: Final[frozenset[ReasonCode]] = frozenset({"missing", *get_args(CopyCode)})
"""Reasons of a `failed` attachment that has no object: none was found, or none was copied."""


def sentence(code: str) -> str:
    """Give the sentence of a code; of one that an older release wrote, the code itself."""
    return _SENTENCES.get(code, code)
