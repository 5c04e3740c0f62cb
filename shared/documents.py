"""Attachments as JSON:API resources, exactly in the form that contract.md describes."""

from collections.abc import Collection, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from operator import attrgetter
from typing import Any

from shared.addresses import without_credentials
from shared.attachments import Attachment
from shared.facts import ADDED
from shared.keys import THUMB
from shared.links import Links
from shared.reasons import sentence
from shared.settings import Settings
from shared.states import END_STATES, MEASURED
from shared.styles import shown_thumbnails

# Relationship → resource type, in the order of contract.md. `organization` comes before these.
RELATIONSHIPS = {
    "creator": "people",
    "invoice": "invoices",
    "purchase_order": "purchase_orders",
    "bill": "bills",
    "email": "emails",
    "page": "pages",
    "expense": "expenses",
    "comment": "comments",
    "task": "tasks",
    "document_style": "document_styles",
    "document_type": "document_types",
    "deal": "deals",
}
INCLUDABLE = frozenset({"organization", *RELATIONSHIPS})

_added = attrgetter(*ADDED)

_NOT_INCLUDED = {name: {"meta": {"included": False}} for name in RELATIONSHIPS}


@lru_cache(maxsize=1024)
def _second(seconds: int, zone: tzinfo) -> tuple[str, str]:
    """Return a whole second as ISO 8601, and its offset: `2026-01-31T08:00:00`, `+01:00`.

    The result is cached, because `isoformat` is slow, and attachments that are created in the same
    second have the same times.
    """
    text = datetime.fromtimestamp(seconds, zone).isoformat()
    return text[:19], text[19:]


class Documents:
    """Builds the JSON:API resources of attachments."""

    def __init__(self, settings: Settings) -> None:
        self.links = Links(settings)
        self._zone = settings.zone

    def time(self, moment: datetime | None) -> str | None:
        """Return a time as ISO 8601 with milliseconds and offset, in the settings' time zone."""
        if moment is None:
            return None
        second, offset = _second(int(moment.timestamp()), self._zone)
        return f"{second}.{moment.microsecond // 1000:03}{offset}"

    def resource(
        self,
        row: Attachment,
        *,
        origin: str,
        now: datetime,
        include: Collection[str] = (),
        fieldset: Collection[str] | None = None,
        policy: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the resource of one attachment.

        `fieldset` lists the attributes and relationships to return; None means all. If `policy` is
        given, it is returned in any case, because the client cannot upload without it.
        """
        url = self.links.url(row.key, row.uploaded_at, now, origin)
        thumbs = self._thumbs(row, now, origin)
        temp_url = row.temp_url
        if temp_url is None:
            temp_url = None if row.uploaded_at is None else url
        elif "?" in temp_url:  # earlier releases stored signed addresses with their query
            temp_url = without_credentials(temp_url)
        attributes: dict[str, Any] = {
            "name": row.name,
            "content_type": row.content_type,
            "size": row.size,
            "url": url,
            "thumb": thumbs[THUMB]["url"] if thumbs else None,
            "temp_url": temp_url,
            "resized": row.resized,
            "created_at": self.time(row.created_at),
            "deleted_at": self.time(row.deleted_at),
            "attachment_type": row.attachment_type,
            "message_id": row.message_id,
            "external_id": row.external_id,
            "attachable_type": row.attachable_type,
        }
        relationships: dict[str, Any] = {
            "organization": {"data": {"type": "organizations", "id": str(row.organization_id)}},
            **_NOT_INCLUDED,
        }
        for name in include:
            if name in RELATIONSHIPS:
                relationships[name] = {"data": _identifier(row, name)}
        if fieldset is not None:
            attributes = {name: attributes[name] for name in attributes if name in fieldset}
            relationships = {
                name: relationships[name] for name in relationships if name in fieldset
            }
        if policy is not None:
            attributes["aws_policy"] = policy
        resource: dict[str, Any] = {
            "id": str(row.id),
            "type": "attachments",
            "attributes": attributes,
            "relationships": relationships,
            "meta": self._meta(row, thumbs),
        }
        if not relationships:
            del resource["relationships"]
        return resource

    def status(self, row: Attachment, *, origin: str, now: datetime) -> dict[str, Any]:
        """Return the status of an attachment for a web page: state, reason and links to files."""
        shown = self.resource(row, origin=origin, now=now, fieldset=("url", "thumb"))
        kept = ("state", "reason", "thumbs")
        return {**shown, "meta": {name: shown["meta"][name] for name in kept}}

    def _thumbs(self, row: Attachment, now: datetime, origin: str) -> dict[str, dict[str, Any]]:
        """Return address, width and height of each thumbnail by style, `thumb` first.

        The stamp of `thumb` is that of the original. The stamp of another style is the time at
        which the style was made, because its edge can change while the original stays the same.
        """
        return {
            style: {
                "url": self.links.url(
                    each.key,
                    row.uploaded_at if style == THUMB else row.processed_at or row.uploaded_at,
                    now,
                    origin,
                ),
                "width": each.width,
                "height": each.height,
            }
            for style, each in shown_thumbnails(row).items()
        }

    def _meta(self, row: Attachment, thumbs: dict[str, dict[str, Any]]) -> dict[str, Any]:
        reason = None
        if row.reason is not None and row.state in END_STATES:
            reason = {"code": row.reason, "detail": sentence(row.reason)}
        meta = {
            "state": row.state,
            "reason": reason,
            **dict(zip(ADDED, _added(row), strict=True)),
            "thumbs": thumbs,
            "processed_at": self.time(row.processed_at),
        }
        if row.scan_verdict is not None and row.state in MEASURED:
            meta["scan"] = {"verdict": row.scan_verdict, "signature": row.scan_signature}
        if row.limit_size or row.limit_types:
            limits = {"max_size": row.limit_size, "content_types": row.limit_types}
            meta["limits"] = {name: each for name, each in limits.items() if each is not None}
        return meta


def _identifier(row: Attachment, name: str) -> dict[str, str] | None:
    if name == "creator":
        number = row.creator_id
    else:
        number = row.attachable_id if row.attachable_type == name else None
    return None if number is None else {"type": RELATIONSHIPS[name], "id": str(number)}


def included(document: dict[str, Any], include: Sequence[str]) -> dict[str, Any]:
    """Add an empty member `included` to a document if the client asked for `include`.

    It is empty because this service has no other resources.
    """
    if include:
        document["included"] = []
    return document
