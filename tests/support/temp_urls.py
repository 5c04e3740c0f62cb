"""Functions that check `temp_url` addresses with the settings of several stores."""

from collections.abc import Mapping

from api.temp_urls.locations import locate, may_take
from shared.settings import Settings
from tests.support.service import make_settings

REQUIRED = {
    "ATTACHMENTS_DATABASE_URL": "postgresql://127.0.0.1/attachments",
    "ATTACHMENTS_BROKER_URL": "redis://127.0.0.1",
    "ATTACHMENTS_FILES_SECRET": "files-secret-of-the-tests",
    "ATTACHMENTS_S3_BUCKET": "our-bucket",
    "ATTACHMENTS_S3_REGION": "eu-west-1",
    "ATTACHMENTS_TEMP_URL_BUCKETS": "shared-uploads, dotted.bucket,"
    "fenced/in/{organization_id}/, fenced/for-all/",
}
AWS: Mapping[str, str] = {}
OWN = {"ATTACHMENTS_S3_ENDPOINT_URL": "http://store.example:8333"}
INSIDE_FENCES = {**OWN, "ATTACHMENTS_S3_PUBLIC_URL": "https://uploads.example/drop"}


def make_store_settings(changes: Mapping[str, str]) -> Settings:
    """Return the settings of a service that uses the given store."""
    return make_settings({**REQUIRED, **changes})


def find_taken(url: str, of: Settings, organization_id: int = 1) -> tuple[str, str] | None:
    """Return the bucket and key in `url`, or None if an organization may not copy this object."""
    place = locate(url, of)
    if place is None or not may_take(place, of, organization_id=organization_id):
        return None
    return place
