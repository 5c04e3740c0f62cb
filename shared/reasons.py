"""Stable codes for why an attachment is `rejected` or `failed`, or what is wrong with its file.

The cause of a final code is the file, so the attempt is never repeated. With the other codes, the
attempts were repeated until none was left. `attachments retry` lets attachments with any reason be
processed again.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

RejectedCode = Literal["too_large", "reserved_type", "type_not_allowed", "infected", "unscannable"]
"""Reasons why a file may not be kept."""

FileCode = Literal["damaged", "too_expensive", "encrypted", "unsupported"]
"""Faults of a file that a decoder may report."""

DecoderCode = Literal["decoder_died", "decoder_stalled", "decoder_fault"]
"""Ways in which a decoder, or the process that identifies types with libmagic, can fail."""

UndecodableCode = Literal[FileCode, "decoder_died"]
"""Reasons why a file is kept without a thumbnail, or with an incomplete one."""

CopyCode = Literal["source_missing", "copy_failed"]
"""Reasons why a copy could not be made."""

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
    "scanner_unavailable",
]
"""The codes that this release writes. A row may have a code that another release wrote."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The sentence that clients see in `meta.reason.detail`, and whether the code is `final`."""

    sentence: str
    final: bool


def _final(sentence: str) -> Reason:
    return Reason(sentence, final=True)


def _tried_again(sentence: str) -> Reason:
    return Reason(sentence, final=False)


REASONS: Final[dict[ReasonCode, Reason]] = {
    # The file may not be kept: the attachment is always `rejected`.
    "too_large": _final("The object is larger than an upload may be."),
    "reserved_type": _final("Files of this type are not accepted."),
    "type_not_allowed": _final("The client that created the attachment does not allow this type."),
    "infected": _final("The scanner found malware in the file."),
    # With ATTACHMENTS_SCAN_OPTIONAL the file is kept, and the attachment is `ready`.
    "unscannable": _final("The file is too large or too complex to be scanned."),
    # The file is kept, and the attachment is `ready`. Only a `damaged` file may have a thumbnail.
    "damaged": _final("The file is damaged or incomplete; its thumbnail, if any, shows the rest."),
    "too_expensive": _final("The file would take too much time or memory to decode."),
    "encrypted": _final("The document is encrypted, so it has no thumbnail."),
    "unsupported": _final("The file is of a variant that is not decoded, so it has no thumbnail."),
    "decoder_died": _tried_again("The decoder died of this file in every attempt."),
    # The service or the store failed in all attempts: the attachment is `failed`.
    "missing": _tried_again("The object is no longer in the store."),
    "store_unavailable": _tried_again("The store could not be reached in any of the attempts."),
    "store_refused": _tried_again("The store refused access to the object."),
    "changing": _tried_again("The object kept changing while it was read."),
    "decoder_stalled": _tried_again("The decoder did not finish in time in any of the attempts."),
    "decoder_fault": _tried_again("The decoder could not be run."),
    # With ATTACHMENTS_SCAN_OPTIONAL the attachment is `ready`.
    "scanner_unavailable": _tried_again("The scanner did not scan the file in any attempt."),
    "source_missing": _tried_again("The object that temp_url names is no longer in the store."),
    "copy_failed": _tried_again("The object that temp_url names could not be copied."),
    "attempts_used_up": _tried_again("Processing did not finish in any of the attempts."),
    "internal_error": _tried_again("Processing failed on an error of the service."),
}

_SENTENCES: Final[dict[str, str]] = {code: each.sentence for code, each in REASONS.items()}

UNDECODABLE: Final[frozenset[FileCode]] = frozenset(get_args(FileCode))

NO_OBJECT: Final[frozenset[ReasonCode]] = frozenset({"missing", *get_args(CopyCode)})
"""The reasons of `failed` attachments without an object: the object is missing, or a copy was not
made."""


def sentence(code: str) -> str:
    """Return the sentence for a code, or the code itself if this release does not know the code."""
    return _SENTENCES.get(code, code)
