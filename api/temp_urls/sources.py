"""The objects that attachments are copied from: each is looked at before anything changes."""

from dataclasses import dataclass

from api.parts import Parts
from api.problems import Problem
from api.temp_urls.locations import Location
from shared.addresses import without_credentials
from shared.copies import Wanted
from shared.errors import ObjectMissing, StoreRefused
from shared.stored_objects import StoredObject
from shared.turns import Turns

LOOKUPS, LOOKUPS_EACH, LOOKUP_WAIT_S = 9, 3, 30
"""Questions to the store about what a `temp_url` names at a time in this process, those of one
organization among them, and how many seconds one waits for its turn. With the copies (see
`api.temp_urls.copying`) they use fewer connections than the store's client has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an attachment's object is copied from.

    `url` is what is stored and shown: the address without credentials.
    """

    url: str
    bucket: str
    key: str
    found: StoredObject

    @property
    def wanted(self) -> Wanted:
        """What is to be copied."""
        return Wanted(
            bucket=self.bucket, key=self.key, etag=self.found.etag, temp_url=self.url,
            size=self.found.size,
        )  # fmt: skip


async def find_source(
    parts: Parts, location: Location, *, organization_id: int, max_size: int
) -> Source:
    """Look at the object at a location.

    `max_size` is what the attachment may have, in bytes.

    Raises Problem 422 if it may not be taken, StoreUnavailable if the store cannot say.
    """
    try:
        async with parts.lookups.turn(organization_id):
            found = await parts.storage.head(location.key, bucket=location.bucket)
    except (ObjectMissing, StoreRefused):
        raise Problem(422, [location.fault("is not an existing object")]) from None
    if found.size > max_size:
        detail = f"is too large (maximum is {max_size} bytes)"
        raise Problem(422, [location.fault(detail)])
    return Source(
        url=without_credentials(location.url),
        bucket=location.bucket,
        key=location.key,
        found=found,
    )


def open_lookups() -> Turns:
    """Make the turns in which organizations have the store asked about their sources."""
    return Turns(LOOKUPS, each=LOOKUPS_EACH, wait_s=LOOKUP_WAIT_S)
