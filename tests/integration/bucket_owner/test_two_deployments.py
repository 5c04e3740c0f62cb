"""Two deployments with one bucket: the second one does not start.

If processes of the second deployment already run, they use no object in the bucket.
"""

import asyncio
from unittest import mock

import pytest

from deploy.local.bucket import check_bucket
from deploy.processes.supervisor import StartFailed
from shared import bucket_owner
from shared.storage import Storage
from tests.support.commands import command, reconciled
from tests.support.doctor import environment, examine
from tests.support.objects import content
from tests.support.resources import PATH, body
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack
from tests.support.starting import Launch, StartWorker
from tests.support.two_deployments import OTHER, PHOTO, Two, claimed

HELD = "the bucket belongs to another deployment: nothing is done in it"


async def refused(service: Service, launch: Launch) -> str:
    """Try to start an API. Assert that it refuses to start, and return its output."""
    with pytest.raises(AssertionError) as failure:
        await launch(ApiProcess(service.environment))
    assert "Traceback" not in str(failure.value)
    return str(failure.value)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["one first", "the other first"])
async def test_the_second_deployment_on_an_empty_bucket_does_not_start_until_it_takes_it_over(
    two: Two, launch: Launch, order: tuple[int, int]
) -> None:
    services, ids = (two.first, two.second), await two.ids()
    (first, second), (first_id, second_id) = (
        [services[each] for each in order],
        [ids[each] for each in order],
    )
    await launch(ApiProcess(first.environment))

    printed = await refused(second, launch)

    assert all(
        each in printed
        for each in (
            first_id,
            second_id,
            two.storage.bucket,
            "ATTACHMENTS_S3_BUCKET",
            "attachments reconcile --mend",
        )
    ), printed
    examined = await examine(environment(second), wait=1)
    assert examined["owner"]["status"] == "failed"
    assert examined["upload"]["status"] == "skipped"
    with mock.patch.dict("os.environ", second.environment), pytest.raises(StartFailed) as failure:
        await check_bucket(second.settings, mend=False)
    assert first_id in str(failure.value)
    status, _, document = await reconciled(second)
    assert (status, [each["kind"] for each in document["differences"]]) == (
        1,
        ["bucket_of_another_deployment"],
    )
    assert await two.owner() == first_id

    status, _, document = await reconciled(second, "--mend")

    assert (status, document["summary"]["left"]) == (0, 0)
    assert await two.owner() == second_id
    await launch(ApiProcess(second.environment))
    await refused(first, launch)
    with mock.patch.dict("os.environ", first.environment):
        await check_bucket(first.settings, mend=True)
    assert await two.owner() == first_id


async def test_of_two_deployments_that_start_at_one_moment_one_gets_the_bucket(
    two: Two, launch: Launch
) -> None:
    apis = [ApiProcess(each.environment) for each in (two.first, two.second)]

    ended = await asyncio.gather(*(launch(each) for each in apis), return_exceptions=True)

    owner, ids = await two.owner(), await two.ids()
    lost = [isinstance(each, BaseException) for each in ended]
    assert lost == [each != owner for each in ids]
    assert f"belongs to deployment {owner}" in apis[lost.index(True)].log()


class Ignoring(Storage):
    """A store that ignores `If-None-Match` and always writes the object, as some stores do.

    Two writers use it. Each writes the marker only after both have found no marker.
    """

    step: asyncio.Barrier

    async def create(self, key: str, body: bytes, *, content_type: str) -> bool:
        """Write an object at the same time as the other writer."""
        await self.step.wait()
        await self.write(key, body, content_type=content_type)
        await self.step.wait()
        return True


async def test_at_a_store_without_conditions_two_deployments_agree_on_the_buckets_owner(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_owner, "SETTLE_S", 0.1)
    monkeypatch.setattr(two.storage, "__class__", Ignoring)
    monkeypatch.setattr(Ignoring, "step", asyncio.Barrier(2), raising=False)

    async with asyncio.timeout(60):
        owners = await asyncio.gather(
            *(claimed(each, two.storage) for each in (two.first, two.second))
        )

    assert {each.theirs for each in owners} == {await two.owner()}
    assert [each.is_foreign for each in owners].count(True) == 1


async def test_an_upload_of_one_deployment_is_never_used_for_an_older_row_of_another(
    two: Two, stack: Stack, start_worker: StartWorker
) -> None:
    """The object of one deployment has the key of the other deployment's row.

    The object is younger than this row, so it is not refused because of its age. Only the bucket's
    marker protects the row.
    """
    stack.relay.target = None
    row = (await two.second.client.create("img.png"))["data"]
    created = await two.first.client.create("img.png")
    assert created["data"]["id"] == row["id"]
    await start_worker(two.first)
    await two.first.client.post_file(created, PHOTO)
    await two.first.client.settled(row["id"])

    worker = await start_worker(two.second)
    key = created["data"]["attributes"]["aws_policy"]["key"]
    patch = {"temp_url": f"{stack.seaweedfs.url}/{two.storage.bucket}/{key}"}
    answer = await two.second.client.request("PATCH", f"{PATH}/{row['id']}", body(patch, row["id"]))
    assert answer.status == 503
    stack.relay.target = two.second.base_url
    assert await stack.relay.post(b'{"Records":[{}]}') == 503

    async def held() -> bool:
        return HELD in worker.log()

    await until(held, within_s=30)
    stack.relay.target = None
    # The second deployment sweeps several times during this upload.
    await two.first.client.settled(await two.first.client.upload(OTHER))
    shown = await two.second.client.show(row["id"])
    assert (shown["meta"]["state"], shown["attributes"]["temp_url"]) == ("pending", None)
    address = await two.first.client.show(row["id"])
    link = address["attributes"]["url"].replace(two.first.base_url, "")
    assert (await two.second.client.request("GET", link)).status in (404, 503)
    answer = await two.second.client.request("POST", PATH, body({"name": "a.png"}))
    assert answer.status == 503
    answer = await two.second.client.request("GET", "/health/ready")
    assert answer.status == 503
    assert all(each.encode() in answer.body for each in await two.ids())


async def test_after_a_bucket_was_taken_over_rows_of_before_use_nothing_that_is_in_it(
    two: Two, stack: Stack, start_worker: StartWorker
) -> None:
    stack.relay.target = None
    client = two.second.client
    row, deleted = [(await client.create("img.png"))["data"] for _ in range(2)]
    await claimed(two.first, two.storage)
    uploads = [await two.first.client.create("img.png") for _ in range(2)]
    for each in uploads:
        await two.first.client.post_file(each, PHOTO)
    assert [each["data"]["id"] for each in uploads] == [row["id"], deleted["id"]]
    worker = await start_worker(two.second)

    async def held() -> bool:
        return HELD in worker.log()

    await until(held, within_s=30)
    await command(two.second, "reconcile", "--mend")
    assert await two.owner() == (await two.ids())[1]
    await client.request("DELETE", f"{PATH}/{deleted['id']}")
    await two.second.execute(
        "UPDATE attachments SET due_at = now() - interval '1 second', deleted_at = CASE"
        " WHEN deleted_at IS NOT NULL THEN deleted_at - interval '2 hours' END"
    )
    keys_of_first = [each["data"]["attributes"]["aws_policy"]["key"] for each in uploads]
    patch = {"temp_url": f"{two.second.settings.upload_url}/{keys_of_first[0]}"}
    answer = await client.request("PATCH", f"{PATH}/{row['id']}", body(patch, row["id"]))
    assert answer.status == 200

    async def looked_at() -> bool:
        return (
            "object is not used: it is older than its row" in worker.log()
            and "nothing purged" in worker.log()
        )

    await until(looked_at, within_s=60)
    assert (await client.show(row["id"]))["meta"]["state"] == "pending"
    assert (await two.second.row(row["id"])).etag is None
    for key in keys_of_first:
        assert await content(two.storage, key) == PHOTO
    _, kinds, _ = await reconciled(two.second, "--mend")
    assert kinds[int(row["id"])] == "older_than_row_unused"
    stack.relay.target = two.second.base_url
    later = await client.settled(await client.upload(OTHER), within_s=60)
    assert later["meta"]["state"] == "ready"
