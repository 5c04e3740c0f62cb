"""The stable codes that say why an attachment is `rejected` or `failed`, or has no thumbnail.

Final ones are the file's doing and are never tried again; the others are ours, and were tried
again until the attempts were used up. `attachments retry` takes up what is rejected or failed.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence for people, shown in `meta.reason.detail`, and whether it is `final`."""

    sentence: str
    final: bool


def _final(sentence: str) -> Reason:
    return Reason(sentence, final=True)


def _tried_again(sentence: str) -> Reason:
    return Reason(sentence, final=False)


REASONS: Final[dict[str, Reason]] = {
    # The file is not accepted: always `rejected`.
    "too_large": _final("The object is larger than an upload may be."),
    "reserved_type": _final("Files of this type are not accepted."),
    "type_not_allowed": _final("The client that created the attachment does not allow this type."),
    # It cannot be decoded: an image is `rejected`; a document is `ready` without a thumbnail.
    "broken": _final("The file is damaged and cannot be decoded."),
    "truncated": _final("The file ends before its data does."),
    "too_many_pixels": _final("The image has more pixels than may be decoded."),
    "too_many_scans": _final("The image is stored in more scans than may be decoded."),
    "decoder_timeout": _final("The file took too long to decode."),
    "decoder_memory": _final("The file took too much memory to decode."),
    # It is well, but there is no thumbnail of it: always `ready`.
    "encrypted": _final("The document is encrypted, so it has no thumbnail."),
    "unsupported": _final("The file is of a variant that is not decoded, so it has no thumbnail."),
    # Ours, after all attempts: `failed`.
    "missing": _tried_again("The object is no longer in the store."),
    "store_unavailable": _tried_again("The store could not be reached in any of the attempts."),
    "store_refused": _tried_again("The store refused access to the object."),
    "changing": _tried_again("The object kept changing while it was read."),
    "decoder_died": _tried_again("The decoder died of this file in every attempt."),
    "decoder_stalled": _tried_again("The decoder came to no end in time in any of the attempts."),
    "decoder_fault": _tried_again("The decoder could not be run."),
    "source_missing": _tried_again("The object that temp_url names is no longer in the store."),
    "copy_failed": _tried_again("The object that temp_url names could not be copied."),
    "attempts_used_up": _tried_again("Processing did not come to an end in any of the attempts."),
    "internal_error": _tried_again("Processing failed on an error of the service."),
}

SPARED: Final = frozenset({"encrypted", "unsupported"})
"""Reasons for having no thumbnail that say nothing against the file: it is `ready`."""

NO_OBJECT: Final = frozenset({"missing", "source_missing", "copy_failed"})
"""Reasons of a `failed` attachment that has no object: none was found, or none was copied."""


def sentence(code: str) -> str:
    """Give the sentence of a code; of one that an older release wrote, the code itself."""
    reason = REASONS.get(code)
    return reason.sentence if reason else code
