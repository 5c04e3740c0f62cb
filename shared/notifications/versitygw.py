"""The messages of versitygw. Their source is `aws:s3`, so the configuration id identifies them.

A key is a part of the path of the upload's request, and is percent-encoded as in that path. For an
upload by form, the path contains no key. So events of such uploads are ignored, and the sweep finds
the uploads. The order of sequencers is unknown, so sequencers are not used. One version of
versitygw posts the list of records without an envelope.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent
from shared.notifications.records import VERSITYGW, parse_records, source_of


def recognises(document: Any) -> bool:
    """Return whether the records are versitygw's, with or without an envelope."""
    return source_of(_envelope(document)) == VERSITYGW


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Yield one item for each record; None for an upload by form, whose key is empty."""
    for record in _envelope(document)["Records"]:
        if _is_by_form(record):
            yield None
        else:
            yield from parse_records([record], source=VERSITYGW, decode=_decode, ordered=False)


def _envelope(document: Any) -> Any:
    return {"Records": document} if isinstance(document, list) else document


def _decode(key: str) -> str:
    return unquote(key, errors="surrogateescape")


def _is_by_form(record: Any) -> bool:
    try:
        return bool(record["s3"]["object"]["key"] == "")
    except (KeyError, TypeError):
        return False
