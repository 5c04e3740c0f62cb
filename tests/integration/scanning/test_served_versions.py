"""A versioned bucket serves the version that was scanned, even if another version is
stored later.
"""

import pytest

from tests.data import images
from tests.support.clamd import MARKER, ClamdProcess, need_clamd
from tests.support.resources import open_bucket
from tests.support.service import Service
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker
from tests.support.versioning import make_bucket, versions

need_clamd()

PHOTO = images.encode(images.noise(300, 200), "JPEG")


async def follow(service: Service, url: str) -> tuple[int, bytes]:
    """Request an address of the API and follow its redirect; return the status and the bytes."""
    async with service.client.session.get(url) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_row111_a_link_serves_the_version_that_was_scanned(
    stack: Stack,
    clamd: ClamdProcess,
    start_service: StartService,
    start_worker: StartWorker,
    method: str,
) -> None:
    async with open_bucket(stack) as client:
        bucket = await make_bucket(client, "Enabled")
        service = await start_service(
            s3_bucket=bucket, clamd_url=clamd.url, pending_check="3600", sweep_interval="0.2"
        )
        await start_worker(service)
        created = await service.client.create("img.jpg")
        assert (await service.client.post_file(created, PHOTO))[0] == 201
        resource = await service.client.settled(created["data"]["id"])
        row = await service.row(created["data"]["id"])
        assert (row.state, row.scan_verdict) == ("ready", "clean")
        assert row.version_id is not None

        stack.relay.target = None  # the API gets no event of the replacement
        assert (await service.client.post_file(created, PHOTO + MARKER))[0] == 201
        assert len(await versions(client, bucket, row.key)) == 2
        url = resource["attributes"]["url"]
        if method == "GET":
            assert await follow(service, url) == (200, PHOTO)
        else:
            async with service.client.session.head(url, allow_redirects=True) as answer:
                assert answer.status == 200
                assert int(answer.headers["Content-Length"]) == len(PHOTO)
