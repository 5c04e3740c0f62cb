"""`attachments doctor` checks deletion: with versioned buckets, and without the permission to
delete."""

import pytest

from tests.support.doctor import NAMES, environment, examine
from tests.support.refusing import Refusing
from tests.support.resources import open_bucket
from tests.support.service import Service
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker
from tests.support.versioning import Versioning, make_bucket, versions


async def in_bucket(stack: Stack, start_service: StartService, versioning: Versioning) -> Service:
    """Start a service with its own bucket."""
    async with open_bucket(stack) as client:
        bucket = await make_bucket(client, versioning)
    return await start_service(s3_bucket=bucket)


async def left_in(service: Service) -> list[tuple[str, str]]:
    """Return the key and version id of each object version that is left in a service's bucket."""
    async with open_bucket(service.stack) as client:
        return await versions(client, service.settings.s3_bucket)


@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
async def test_a_bucket_with_versions_is_well_and_no_version_of_a_probe_is_left(
    stack: Stack, start_service: StartService, start_worker: StartWorker, versioning: Versioning
) -> None:
    service = await in_bucket(stack, start_service, versioning)
    await start_worker(service)
    examined = await examine(environment(service))
    assert examined.named("ok") == NAMES
    assert "keeps versions, and all of them can be removed" in examined["deletion"]["found"]
    assert await left_in(service) == []


@pytest.mark.parametrize(
    ("versioning", "forbidden", "status", "found", "mend"),
    [
        pytest.param(
            "Enabled",
            (b"?versions",),
            "failed",
            "deleted attachments stay in the store",
            "s3:ListBucketVersions",
            id="list",
        ),
        pytest.param(
            "Enabled",
            (b"versionId=",),
            "failed",
            "s3:DeleteObjectVersion is needed",
            "s3:DeleteObjectVersion",
            id="delete-version",
        ),
        pytest.param(
            "Enabled",
            (b"?versions", b"?versioning"),
            "failed",
            "deleted attachments stay in the store",
            "s3:GetBucketVersioning",
            id="list-and-state",
        ),
        pytest.param(
            None,
            (b"?versions", b"?versioning"),
            "warning",
            "does not allow to read whether",
            "s3:GetBucketVersioning",
            id="state",
        ),
        pytest.param(
            None,
            (b"DELETE ",),
            "failed",
            "cannot be removed",
            "s3:DeleteObject",
            id="delete",
        ),
    ],
)
async def test_a_right_that_is_missing_is_named(
    stack: Stack,
    start_service: StartService,
    versioning: Versioning,
    forbidden: tuple[bytes, ...],
    status: str,
    found: str,
    mend: str,
) -> None:
    service = await in_bucket(stack, start_service, versioning)
    proxy = Refusing(stack.seaweedfs.url)
    await proxy.start()
    try:
        proxy.forbidden = forbidden
        variables = environment(
            service, s3_endpoint_url=proxy.url, s3_public_url=service.settings.upload_url
        )
        examined = await examine(variables, wait=1)
        assert examined["deletion"]["status"] == status
        assert found in examined["deletion"]["found"]
        assert mend in examined["deletion"]["mend"]
        assert examined["removal"]["status"] == ("failed" if status == "failed" else "ok")
        if status == "failed":
            assert "s3:DeleteObject" in examined["removal"]["mend"]
    finally:
        await proxy.stop()
