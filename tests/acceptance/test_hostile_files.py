"""Each file of the hostile corpus is sent through the running service (limits.md, rows 67
to 89).
"""

import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import pytest
import pytest_asyncio
from PIL import Image

from shared.content_types import INLINE, essence
from shared.storage import Storage
from tests.data import further, images
from tests.data.damaged import ANIMATIONS, CHECKSUMS, FLIPS
from tests.data.hostile_corpus import SAMPLES
from tests.data.sample import Sample
from tests.support.batches import (
    follow,
    is_without_thumbnail,
    outcome,
    settle_all,
    upload_all,
    worker_of,
)
from tests.support.faults import stored_keys
from tests.support.objects import opened_storage
from tests.support.service import Service
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker

MAX_EDGE = 320


@pytest_asyncio.fixture(scope="module")
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """Open the bucket of the service."""
    async with opened_storage(stack) as opened:
        yield opened


@dataclass
class Uploads:
    """The uploaded files of the corpus.

    The first test that needs a file of a row of limits.md uploads all files of that row.
    """

    samples: Sequence[Sample] = SAMPLES
    ids: dict[str, str] = field(default_factory=dict)

    async def id_of(self, service: Service, sample: Sample) -> str:
        """Return the id of a file's attachment. Upload all files of its row first, if necessary.

        The method waits until these files have a final state. Then it asserts that the same worker
        still runs and can process a good photo.
        """
        if sample.name not in self.ids:
            row = [other for other in self.samples if other.row == sample.row]
            worker = worker_of(service)
            ids = await upload_all(service, [(item.file_name, item.content) for item in row])
            self.ids |= {item.name: done for item, done in zip(row, ids, strict=True)}
            await settle_all(service, ids)
            good = await service.client.upload(images.photo(), "img.jpg")
            assert outcome(await service.client.settled(good)) == ("ready", None)
            assert worker_of(service) == worker
        return self.ids[sample.name]


@pytest.fixture(scope="module")
def uploads() -> Uploads:
    """Return the `Uploads` that all tests of this module share. At first it has no files."""
    return Uploads()


async def check(service: Service, storage: Storage, sample: Sample, attachment_id: str) -> None:
    """Assert that the state, attributes and content of an attachment are as its sample says."""
    client = service.client
    resource = await client.show(attachment_id)
    attributes = resource["attributes"]
    state, reason = outcome(resource)
    assert (state, reason) in sample.allowed, sample.name
    assert reason is None or resource["meta"]["reason"]["detail"]
    assert attributes["size"] == len(sample.content)
    content_type = attributes["content_type"]
    if sample.content_types:
        assert essence(content_type) in sample.content_types
    row = await service.row(attachment_id)
    assert row.attempt == 1

    if state != "ready" or not sample.thumbnail:
        shown = False
    else:
        shown = attributes["resized"] if reason == "damaged" else reason is None
    if not shown:
        assert is_without_thumbnail(resource)
        folder = row.key.partition("/original/")[0] + "/"
        assert await stored_keys(storage, folder) == [row.key]
    else:
        thumbnail = await follow(client, attributes["thumb"])
        assert attributes["resized"] is True
        with Image.open(io.BytesIO(thumbnail.body)) as image:
            image.load()
            assert thumbnail.content_type == f"image/{str(image.format).lower()}"
            assert 1 <= min(image.size) <= max(image.size) <= MAX_EDGE
            assert not image.info.keys() & {"icc_profile", "exif", "comment", "xmp"}
        assert images.PAYLOAD not in thumbnail.body

    served = await follow(client, attributes["url"])
    if reason == "reserved_type":
        assert served.status == 404
        return
    assert (served.status, served.body) == (200, sample.content)
    assert essence(served.content_type) == essence(content_type)
    if served.disposition != "attachment":
        assert served.disposition == "inline"
        assert state == "ready"
        assert content_type in INLINE
        assert not sample.never_inline


@pytest.mark.parametrize(
    "sample",
    [pytest.param(sample, id=sample.name) for sample in sorted(SAMPLES, key=attrgetter("row"))],
)
async def test_a_hostile_file_gets_its_expected_state_and_is_described_correctly(
    working: Service, storage: Storage, uploads: Uploads, sample: Sample
) -> None:
    await check(working, storage, sample, await uploads.id_of(working, sample))


async def test_hostile_files_of_further_formats_end_as_they_must(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service()
    await start_worker(service, more_formats=further.SETTING)
    uploads = Uploads(further.SAMPLES)
    for sample in further.SAMPLES:
        await check(service, storage, sample, await uploads.id_of(service, sample))


async def test_row78_the_same_file_comes_to_the_same_every_time(
    working: Service, storage: Storage
) -> None:
    samples = [*CHECKSUMS, *ANIMATIONS, *FLIPS[::8]]
    ids = await upload_all(
        working, [(sample.file_name, sample.content) for sample in samples for _ in range(2)]
    )
    assert not await settle_all(working, ids)
    for sample, first, second in zip(samples, ids[::2], ids[1::2], strict=True):
        found = []
        for attachment_id in (first, second):
            row = await working.row(attachment_id)
            thumbnail = row.thumbnail_key and (await storage.head(row.thumbnail_key)).etag
            found.append(
                (row.state, row.reason, row.content_type, row.width, row.height, thumbnail)
            )
        assert found[0] == found[1], sample.name
