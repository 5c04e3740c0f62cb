"""Two deployments of the service that both try to use one bucket."""

from dataclasses import dataclass

from shared.bucket_owner import MARKER, Owner, claim_bucket
from shared.database import open_database
from shared.deployment import deployment_id
from shared.storage import Storage
from tests.data import images
from tests.support.objects import content
from tests.support.service import Service

PHOTO, OTHER = images.photo(), images.photo(colour=(1, 2, 3))
QUICK = {"sweep_interval": "0.2", "pending_check": "1"}


@dataclass(frozen=True, kw_only=True)
class Two:
    """Two deployments that use one bucket.

    Each has its own database, whose attachment ids begin at 1.
    """

    first: Service
    second: Service
    storage: Storage

    async def ids(self) -> tuple[str, str]:
        """Return the ids of the two deployments."""
        found = []
        for each in (self.first, self.second):
            async with each.database.acquire() as connection:
                found.append(await deployment_id(connection))
        return found[0], found[1]

    async def owner(self) -> str:
        """Return the deployment id that the bucket's marker object holds."""
        return (await content(self.storage, MARKER)).decode().partition("\n")[0]


async def claimed(service: Service, storage: Storage) -> Owner:
    """Let a deployment claim the bucket, and return the owner that the bucket has then."""
    async with open_database(service.settings) as database:
        return await claim_bucket(database, storage)
