"""Dialects: how stores say that an object was created. One pure module each, one event out.

A dialect is a module with two functions:

- `recognises(document) -> bool`: whether a decoded JSON document is of this dialect;
- `parse(document) -> Iterator[UploadEvent | UnreadableEvent | None]`: one item a record: an
  event, a fault that costs only this record, or None for what concerns no object of ours.

To add one: write the module, put it into `DIALECTS`. What its records have in common with S3's
stands in `records`; `sns` is no dialect but an envelope, which may hold any.
"""

from shared.notifications.event import UploadEvent
from shared.notifications.intake import Reading, newest, read

__all__ = ["Reading", "UploadEvent", "newest", "read"]
