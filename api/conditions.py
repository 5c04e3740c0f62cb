"""Entity tags of attachments, and the conditions of requests: If-None-Match and If-Match.

A tag has three parts: `"revision.row.form"`. `revision` is the row's `revision`, which counts
uploads. `row` is a digest of the attachment's values. `form` is a digest of everything else that
changes the answer: the host, the settings of links, the end of signed links, the time zone and the
release.

A client's copy is current only if all three parts are equal. A change is allowed if the first two
parts are equal, because `form` concerns links, and a client cannot change links.
"""

from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Self, TypeVar

from aiohttp import ETag, web

from api.parts import Parts, now
from api.problems import Problem, general
from shared import attachments
from shared.attachments import Attachment
from shared.database import Connection
from shared.facts import MEASURED
from shared.states import END_STATES
from shared.version import VERSION

T = TypeVar("T")

ANY = "*"
DIGEST_BYTES = 12
"""With 96 bits, two states of one attachment do not get the same digest by chance."""

SHOWN = (
    "id",
    "organization_id",
    "creator_id",
    "name",
    "file_name",
    "thumbnail_name",
    "styles",
    "attachable_type",
    "attachable_id",
    "attachment_type",
    "message_id",
    "external_id",
    "temp_url",
    *MEASURED,
    "scan_verdict",
    "scan_signature",
    "state",
    "resized",
    "created_at",
    "uploaded_at",
    "processed_at",
    "deleted_at",
    "limit_size",
)
"""The columns that an answer shows. `row_tag` adds `reason` and `limit_types` in another form, and
the `etag` that decides which styles are shown."""

_shown_of = attrgetter(*SHOWN)


def row_tag(row: Attachment) -> str:
    """Return the first two parts of an attachment's tag: revision and digest of its values."""
    reason = row.reason if row.state in END_STATES else None
    types = None if row.limit_types is None else list(row.limit_types)
    etag = None if row.styles is None else row.etag
    return f"{row.revision}.{_digest([*_shown_of(row), reason, types, etag])}"


def entity_tag(parts: Parts, row: Attachment, address: str) -> str:
    """Return the strong entity tag of an attachment, in quotes.

    It does not depend on Content-Encoding, `include` and `fields`. `address` is the beginning of
    the answer's links, see `api.parts.origin`.
    """
    form = parts.documents.links.form(now(), address, row.uploaded_at)
    return f'"{row_tag(row)}.{_form_digest(form, str(parts.settings.zone))}"'


@lru_cache(maxsize=256)  # all attachments without a file have the same `form`
def _form_digest(form: str, zone: str) -> str:
    return _digest([form, zone, VERSION])


def _digest(values: Sequence[Any]) -> str:
    digest = blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES)
    return urlsafe_b64encode(digest.digest()).decode()


def is_current(request: web.Request, tag: str) -> bool:
    """Return True if If-None-Match contains the tag, which means that the client's copy is current.

    Source: RFC 9110, section 13.1.2.
    """
    given = request.if_none_match
    return given is not None and any(each.value in (ANY, tag.strip('"')) for each in given)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The tags of a request's If-Match and If-None-Match. None means that the header is missing."""

    match: Sequence[ETag] | None
    none_match: Sequence[ETag] | None

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Read the conditions of a request. A header that cannot be parsed contains no tag."""
        return cls(request.if_match, request.if_none_match)

    def __bool__(self) -> bool:
        return self.match is not None or self.none_match is not None

    def require(self, row: Attachment) -> None:
        """Raise Problem 412 if the conditions do not allow a change of this attachment."""
        tag, match, none_match = row_tag(row), self.match, self.none_match
        if match is not None and not any(_names(each, tag, strong=True) for each in match):
            raise _failed("If-Match", "The attachment was changed since it was read")
        if none_match is not None and any(_names(each, tag, strong=False) for each in none_match):
            raise _failed("If-None-Match", "The attachment is there already")

    async def guard(
        self,
        connection: Connection,
        attachment_id: int,
        organization_id: int,
        act: Callable[[Connection], Awaitable[T]],
    ) -> T:
        """Lock the attachment against other requests, check the conditions, and run `act`.

        If the conditions do not allow the change, raises Problem 412 and does not run `act`. If the
        attachment does not exist, only runs `act`.
        """
        async with connection.transaction():
            row = await attachments.find(connection, attachment_id, organization_id, lock=True)
            if row is not None:
                self.require(row)
            return await act(connection)


def _names(given: ETag, tag: str, *, strong: bool) -> bool:
    if given.value == ANY:
        return True
    return given.value.rpartition(".")[0] == tag and not (strong and given.is_weak)


def _failed(header: str, detail: str) -> Problem:
    problem = general(412, detail)
    problem.errors[0]["source"] = {"header": header}
    return problem
