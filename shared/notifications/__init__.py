"""Dialects: how stores say that an object was created. One pure module each, one event out.

A dialect is a module with two functions:

- `recognises(document) -> bool`: whether a decoded JSON document is of this dialect;
- `parse(document) -> Iterator[UploadEvent | UnreadableEvent | None]`: one item a record: an
  event, a fault that costs only this record, or None for what concerns no object of ours.

A store with records like Amazon's is a line in `s3_like`. For any other, write a module and add it
to `DIALECTS` in `reading`. `sns` is not a dialect but an envelope, which may hold any of them.
"""

from shared.notifications.event import UploadEvent
from shared.notifications.reading import Reading, newest, read

__all__ = ["Reading", "UploadEvent", "newest", "read"]
