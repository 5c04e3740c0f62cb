"""The marker object of a bucket, which names the deployment that owns the bucket."""

from shared import keys
from shared.bucket_owner import MARKER
from tests.support.commands import reconciled
from tests.support.doctor import environment, examine
from tests.support.objects import content, exists
from tests.support.other_api import create, readiness
from tests.support.proxy import Proxy
from tests.support.refusing import Refusing
from tests.support.service import until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack
from tests.support.starting import Launch, StartWorker
from tests.support.two_deployments import PHOTO, Two, claimed


async def test_without_the_right_to_read_the_marker_it_warns_and_works(
    two: Two, stack: Stack, launch: Launch, start_worker: StartWorker
) -> None:
    refusing = Refusing(stack.seaweedfs.url)
    refusing.forbidden = (MARKER.encode(),)
    await refusing.start()
    try:
        api = await launch(ApiProcess(two.first.environment, s3_endpoint_url=refusing.url))
        worker = await start_worker(two.first, s3_endpoint_url=refusing.url)
        resource = await two.first.client.settled(await two.first.client.upload(PHOTO))
        examined = await examine(
            {**environment(two.first), "ATTACHMENTS_S3_ENDPOINT_URL": refusing.url}, wait=1
        )
    finally:
        await refusing.stop()
    assert resource["meta"]["state"] == "ready"
    for log in (api.log(), worker.log()):
        assert log.count("whose the bucket is cannot be found out") == 1
        assert "AccessDenied" in log
    assert (examined["owner"]["status"], examined["sequence"]["status"]) == ("warning", "ok")
    assert MARKER in examined["owner"]["mend"]


async def test_a_bucket_of_a_release_without_markers_is_marked_by_the_deployment_with_its_rows(
    two: Two, stack: Stack, start_worker: StartWorker
) -> None:
    stack.relay.target = two.first.base_url
    worker = await start_worker(two.first)
    attachment_id = await two.first.client.upload(PHOTO)
    await two.first.client.settled(attachment_id)
    await worker.stop()  # a worker that runs would write the marker again
    await two.storage.delete(MARKER)
    await two.second.execute("ALTER SEQUENCE attachments_id_seq RESTART WITH 1000")

    stranger = await claimed(two.second, two.storage)

    assert (stranger.theirs, stranger.has_strangers) == (None, True)
    assert not await exists(two.storage, MARKER)
    examined = await examine(environment(two.second), wait=1)
    assert examined["owner"]["status"] == "warning"
    status, _, document = await reconciled(two.second)
    assert status == 1
    assert "bucket_without_owner" in {each["kind"] for each in document["differences"]}
    assert not (await claimed(two.first, two.storage)).is_foreign
    assert (await claimed(two.second, two.storage)).theirs == (await two.ids())[0]


async def test_an_api_that_could_not_ask_makes_no_policies_in_a_bucket_that_may_be_anothers(
    two: Two, launch: Launch, proxy: Proxy
) -> None:
    """An API that could not read the bucket's marker issues no policies.

    An upload with such a policy could overwrite an object of the deployment that owns the bucket.
    """
    await claimed(two.first, two.storage)
    proxy.cut()
    unproven = await launch(ApiProcess(two.second.environment, s3_endpoint_url=proxy.url))
    await two.first.execute(
        "INSERT INTO attachments (organization_id, name, file_name, bucket, state, processed_at,"
        " policy_expires_at) VALUES (1, 'a', 'a', $1, 'ready', now(), now())",
        two.storage.bucket,
    )
    proven = await launch(ApiProcess(two.first.environment, s3_endpoint_url=proxy.url))

    assert await create(two.first.client, proven.url) == 201
    assert await create(two.second.client, unproven.url) == 503
    proxy.let_go()

    async def knows() -> bool:
        status, printed = await readiness(two.second.client, unproven.url)
        return status == 503 and "belongs to deployment" in printed

    await until(knows, within_s=60)
    assert await create(two.second.client, unproven.url) == 503
    assert await create(two.first.client, proven.url) == 201


async def test_another_object_under_the_markers_key_names_no_owner(two: Two) -> None:
    for other in (b"", b"<html>", b"\xff" * 100, (await two.ids())[0].encode() + b"0"):
        await two.storage.write(MARKER, other, content_type="text/plain")
        owner = await claimed(two.first, two.storage)
        assert (owner.is_foreign, owner.theirs) == (True, "unknown")


async def test_the_marker_is_no_key_of_an_upload() -> None:
    assert keys.parse_key(MARKER) is None
    assert MARKER.startswith(keys.PREFIX)


async def test_a_lost_id_is_another_deployment(two: Two) -> None:
    (before, _), owner = await two.ids(), await claimed(two.first, two.storage)
    assert owner.theirs == before
    await two.first.execute("DELETE FROM deployment")
    assert (await claimed(two.first, two.storage)).is_foreign


async def test_a_role_that_may_not_read_the_id_is_reported(two: Two, launch: Launch) -> None:
    await two.first.execute("CREATE ROLE blind LOGIN PASSWORD 'blind'")
    address = two.first.environment["ATTACHMENTS_DATABASE_URL"]
    scheme, _, rest = address.partition("://")
    url = f"{scheme}://blind:blind@{rest.rpartition('@')[2]}"
    try:
        api = await launch(ApiProcess(two.first.environment, database_url=url))
        assert "SELECT and INSERT on the table deployment" in api.log()
    finally:
        await two.first.execute("DROP OWNED BY blind")
        await two.first.execute("DROP ROLE blind")


async def test_the_marker_is_written_once(two: Two) -> None:
    assert await two.storage.create(MARKER, b"a", content_type="text/plain")
    assert not await two.storage.create(MARKER, b"b", content_type="text/plain")
    assert await content(two.storage, MARKER) == b"a"
