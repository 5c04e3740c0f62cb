"""Ask the store about the objects that must be copied. This is done before any row is changed."""

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
"""At most LOOKUPS HEAD requests for sources run in this process, and LOOKUPS_EACH of them for one
organization. A request waits for at most LOOKUP_WAIT_S seconds. The store's client has more
connections than these requests and the copies (`api.temp_urls.copying`) can use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An object to copy from.

    `url` is the address without credentials. It is stored and shown as `temp_url`. `found` is the
    store's description of the object.
    """

    url: str
    bucket: str
    key: str
    found: StoredObject

    @property
    def wanted(self) -> Wanted:
        """The copy that must be made, as a row records it."""
        return Wanted(
            bucket=self.bucket,
            key=self.key,
            etag=self.found.etag,
            temp_url=self.url,
            size=self.found.size,
        )


async def find_source(
    parts: Parts, location: Location, *, organization_id: int, max_size: int
) -> Source:
    """Look up the object at a location in the store.

    `max_size` is the attachment's limit in bytes. Raises Problem 422 if the object does not exist,
    cannot be read or is too large. Raises StoreUnavailable if the store does not answer, and Busy
    if the organization gets no turn in time.
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
    """Return the `Turns` object that limits how many sources are looked up at once."""
    return Turns(LOOKUPS, each=LOOKUPS_EACH, wait_s=LOOKUP_WAIT_S)
