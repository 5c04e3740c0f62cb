"""The stable codes that say why an attachment is `rejected` or `failed`, and their sentences.

Final codes are the file's doing and are never tried again; the others are ours, and were tried
again until the attempts were used up. `attachments retry` takes up either.
"""

from typing import Final

# code → the sentence shown in `meta.reason.detail`
REASONS: Final[dict[str, str]] = {
    # rejected: the file's fault, final
    "too_large": "The object is larger than an upload may be.",
    "reserved_type": "Files of this type are not accepted.",
    "broken": "The image is damaged and cannot be decoded.",
    "truncated": "The image ends before its data does.",
    "too_many_pixels": "The image has more pixels than may be decoded.",
    "too_many_scans": "The image is stored in more scans than may be decoded.",
    "decoder_timeout": "The image took too long to decode.",
    "decoder_memory": "The image took too much memory to decode.",
    "decoder_died": "The decoder died of this image.",
    # failed: ours, after all attempts
    "missing": "The object is no longer in the store.",
    "store_unavailable": "The store could not be reached in any of the attempts.",
    "store_refused": "The store refused access to the object.",
    "decoder_fault": "The decoder could not be run.",
    "changing": "The object kept changing while it was read.",
    "attempts_used_up": "Processing did not come to an end in any of the attempts.",
    "internal_error": "Processing failed on an error of the service.",
}
