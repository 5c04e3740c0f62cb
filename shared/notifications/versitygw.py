"""versitygw's messages: their source is `aws:s3`; the id of the configuration identifies them.

Keys are parts of the request's path and may be percent-encoded, as in the request. The path of an
upload by form contains no key. So the events of these uploads are empty, and the sweep finds the
uploads. The order of sequencers is unknown, so they are not used. One version posts the list of
records without an envelope.
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
    """Parse each record; yield None for an upload by form."""
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
