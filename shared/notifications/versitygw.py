"""versitygw: calls itself `aws:s3` and is told apart by the name of its configuration.

Its keys are cut from the path of the request and may be percent-encoded as there. Of an upload by
form the path names no key, so those events are empty, and the sweep finds the upload. Nothing is
known of the order of its sequencers. One version posts the bare list of records.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent
from shared.notifications.records import VERSITYGW, parse_records, source_of


def recognises(document: Any) -> bool:
    """Whether its records are versitygw's, in an envelope or bare."""
    return source_of(_envelope(document)) == VERSITYGW


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Read each record."""
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
