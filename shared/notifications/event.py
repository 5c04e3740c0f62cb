"""What every dialect is normalised to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadEvent:
    """A hint that an object was created or removed; what is true, the store says when asked.

    `key` is decoded, without the bucket. `sequencer` is given only where the dialect's may be
    compared (events.md), in upper case; `etag` has no quotes.
    """

    bucket: str
    key: str
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    removed: bool = False
