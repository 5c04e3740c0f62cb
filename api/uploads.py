"""A `temp_url` taken at its word: the upload is recorded, or the object copied and recorded."""

from dataclasses import dataclass

from api.parts import Parts
from api.problems import Problem, invalid
from api.temp_urls import locate, may_take
from shared import content_types
from shared.addresses import without_credentials
from shared.copies import Wanted
from shared.errors import ObjectMissing, StoreRefused
from shared.settings import Settings
from shared.stored_objects import StoredObject
from shared.turns import Turns

LOOKUPS, LOOKUPS_EACH, LOOKUP_WAIT_S = 9, 3, 30
"""Questions to the store about what a `temp_url` names at a time in this process, those of one
organization among them, and how many seconds one waits for its turn. With the copies (see
`api.copying`) they use fewer connections than the store's client has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an attachment's object is copied from.

    `url` is what is stored and shown: the address without credentials.
    """

    url: str
    pointer: str
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


def stored_type(settings: Settings, content_type: str | None, file_name: str) -> str | None:
    """Give the type that an original must be stored with; None leaves it to the store.

    In the public mode the store's type is the one that browsers see, so it is always fixed there.
    Elsewhere the redirect to the store overrides it, and only a declared one is fixed.
    """
    if settings.files_public:
        return content_types.public_type(content_type, file_name)
    return content_type


def _refuse(url: str, pointer: str, detail: str) -> Problem:
    meta = {"value": without_credentials(url)}
    return Problem(422, [invalid(f"{pointer}/attributes/temp_url", detail, meta)])


def name_source(
    settings: Settings, url: str, *, organization_id: int, pointer: str
) -> tuple[str, str]:
    """Tell the bucket and key that a `temp_url` names. Raises Problem 422 if it may not be taken.

    Only what `may_take` admits may be. The store is not asked, so that the answer does not tell
    what is in it.
    """
    named = locate(url, settings)
    if named is None or not may_take(named, settings, organization_id=organization_id):
        raise _refuse(url, pointer, "is not an allowed location")
    return named


async def find_source(
    parts: Parts,
    url: str,
    *,
    organization_id: int,
    pointer: str,
    max_size: int,
) -> Source:
    """Check a `temp_url` and look at the object that it names.

    `max_size` is what the attachment may have, in bytes.

    Raises Problem 422 if it may not be taken, StoreUnavailable if the store cannot say.
    """
    bucket, key = name_source(parts.settings, url, organization_id=organization_id, pointer=pointer)
    shown = without_credentials(url)
    try:
        async with parts.lookups.turn(organization_id):
            found = await parts.storage.head(key, bucket=bucket)
    except (ObjectMissing, StoreRefused):
        raise _refuse(url, pointer, "is not an existing object") from None
    if found.size > max_size:
        raise _refuse(url, pointer, f"is too large (maximum is {max_size} bytes)")
    return Source(url=shown, pointer=pointer, bucket=bucket, key=key, found=found)


def open_lookups() -> Turns:
    """Make the turns in which organizations have the store asked about their sources."""
    return Turns(LOOKUPS, each=LOOKUPS_EACH, wait_s=LOOKUP_WAIT_S)
