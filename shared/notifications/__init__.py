"""Dialects: parsers for the messages with which stores report that an object was created.

Each dialect is a module of functions without I/O:

- `recognises(document) -> bool`: whether a decoded JSON document is of this dialect;
- `parse(document) -> Iterator[UploadEvent | UnreadableEvent | None]`: one item for each record: an
  event, a fault of this record only, or None for a record that is ignored.

A store whose records are like Amazon's needs only one line in `s3_like`. For any other store, write
a module and add it to `DIALECTS` in `reading`. `sns` is not a dialect but an envelope, which may
contain a message of any dialect.
"""

from shared.notifications.event import UploadEvent
from shared.notifications.reading import Reading, newest, read

__all__ = ["Reading", "UploadEvent", "newest", "read"]
