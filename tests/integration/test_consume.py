"""Events that come through SQS: wired as on AWS, and with every part failing in its turn."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import redis.asyncio

from deploy.embedded.ports import HOST, choose_port
from deploy.embedded.postgres import EmbeddedPostgres
from shared.schema import migrate
from tests.data import images
from tests.support.consumer import PROGRAM, ConsumerProcess
from tests.support.moto_server import CREDENTIALS, Inbox, Moto, running_moto
from tests.support.proxy import running_proxy
from tests.support.service import Service, running_service, until
from tests.support.stack import Stack, queue_key
from tests.support.starting import StartService, StartWorker
from worker.queue.consumer import HOLD_S


@pytest_asyncio.fixture(scope="module")
async def moto() -> AsyncIterator[Moto]:
    """AWS."""
    async with running_moto() as started:
        yield started


class StartConsumer(Protocol):
    """Starts a consumer; overrides are settings by lower-case name."""

    def __call__(self, service: Service, **overrides: str) -> Awaitable[ConsumerProcess]: ...


def with_changed(constant: str) -> Sequence[str]:
    """Give the program of a consumer for which a constant is another."""
    return "-c", (
        "import sys; from deploy import cli; from worker.queue import consumer;"
        f" consumer.{constant};"
        " sys.argv = ['attachments', 'consume']; cli.main()"
    )


FREQUENT_TALLIES = with_changed("LOGGED_EVERY_S = 0.2")
NO_LONG_POLLS = with_changed("WAIT_S = 0")
"""A long poll that is cut off would take what is given back: moto does not see it end."""


def consumer_of(
    service: Service, *gone: str, program: Sequence[str] = PROGRAM, **changes: str
) -> ConsumerProcess:
    """Make a consumer with a service's settings, changed and without some; it does not run yet."""
    given = {"PATH": os.environ["PATH"], **service.environment, **CREDENTIALS, **changes}
    environment = {name: value for name, value in given.items() if name not in gone}
    return ConsumerProcess(environment, program)


@contextmanager
def launched(
    service: Service, *gone: str, program: Sequence[str] = PROGRAM, **changes: str
) -> Iterator[ConsumerProcess]:
    """Run a consumer that need not get ready; it logs no secret and no bug."""
    consumer = consumer_of(service, *gone, program=program, **changes)
    consumer.launch()
    try:
        yield consumer
        told_no_secret(consumer)
        assert "Traceback" not in consumer.log()
    finally:
        consumer.close()


def told_no_secret(consumer: ConsumerProcess) -> None:
    log = consumer.log()
    password = urlsplit(consumer.environment["ATTACHMENTS_DATABASE_URL"]).password
    assert password is not None
    for secret in (password, *CREDENTIALS.values()):
        assert secret not in log


@pytest_asyncio.fixture
async def start_consumer() -> AsyncIterator[StartConsumer]:
    """Start consumers that end with the test; whatever befalls them, they log no secret."""
    started: list[ConsumerProcess] = []

    async def start(service: Service, **overrides: str) -> ConsumerProcess:
        changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
        consumer = consumer_of(service, **changes)
        started.append(consumer)
        return await consumer.start()

    yield start
    for consumer in started:
        consumer.kill()
    for consumer in started:
        told_no_secret(consumer)
        consumer.close()


async def key_of(service: Service, attachment_id: str) -> str:
    return (await service.row(attachment_id)).key


def record(bucket: str, key: str, *, sequencer: str = "0A", etag: str = "e1") -> dict[str, Any]:
    """Write a record as S3 does."""
    return {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Post",
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": key, "size": 1, "eTag": etag, "sequencer": sequencer},
        },
    }


async def created(service: Service, count: int = 1) -> list[str]:
    """Create attachments."""
    documents = [await service.client.create(f"{number}.png") for number in range(count)]
    return [document["data"]["id"] for document in documents]


async def message(service: Service, *ids: str, **changes: str) -> str:
    """Write S3's message about the uploads of attachments."""
    bucket = service.settings.s3_bucket
    return json.dumps(
        {"Records": [record(bucket, await key_of(service, each), **changes) for each in ids]}
    )


async def taken_up(service: Service, *ids: str, within_s: float = 30) -> None:
    """Wait until the uploads of attachments are recorded."""

    async def recorded() -> bool:
        rows = [await service.row(each) for each in ids]
        return all(row.state == "uploaded" for row in rows)

    await until(recorded, within_s=within_s)


class TestWiring:
    """A whole upload, by each way that S3's events come into a queue."""

    @pytest.mark.parametrize(
        "way", ["S3 to SQS", "S3 to SNS to SQS", "S3 to SNS to SQS, raw", "S3 to EventBridge"]
    )
    async def test_an_upload_is_ready_by_its_event_alone(
        self,
        moto: Moto,
        start_service: StartService,
        start_worker: StartWorker,
        start_consumer: StartConsumer,
        way: str,
    ) -> None:
        bucket, inbox = await moto.make_bucket(), await moto.make_inbox()
        if way == "S3 to SQS":
            await moto.wire_sqs(bucket, inbox)
            assert await inbox.counts() == (1, 0)  # S3's test event
        elif way == "S3 to EventBridge":
            await moto.wire_eventbridge(bucket, inbox)
        else:
            await moto.wire_sns(bucket, inbox, raw=way.endswith("raw"))
        # The sweep asks the store for what no event has told, but not within this test.
        service = await start_service(**moto.settings(inbox, bucket), pending_check="3600")
        await start_worker(service)
        consumer = await start_consumer(service)
        attachment_id = await service.client.upload(images.photo(), "a b+ü%2F.png")
        resource = await service.client.settled(attachment_id, within_s=60)
        assert resource["meta"]["state"] == "ready"
        assert resource["attributes"]["resized"]
        await until(inbox.is_empty, within_s=30)
        assert await service.database.fetchval("SELECT count(*) FROM dead_letters") == 0
        assert await consumer.stop() == 0


@pytest_asyncio.fixture
async def inbox(moto: Moto) -> Inbox:
    """A queue whose messages may come once only: the second time they go to the queue behind."""
    return await moto.make_inbox(receives=1)


@pytest_asyncio.fixture
async def service(start_service: StartService, inbox: Inbox) -> Service:
    """An API that takes its events from the queue, without any worker."""
    return await start_service(sqs_queue_url=inbox.url)


async def is_left_alone(inbox: Inbox) -> bool:
    """Whether no message has come more than once."""
    assert inbox.dead is not None
    return await inbox.dead.is_empty()


def status_line(status: int) -> bytes:
    """Write an answer of HTTP in which there is nothing for us."""
    return f"HTTP/1.1 {status} .\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".encode()


@asynccontextmanager
async def locked(service: Service, attachment_id: str) -> AsyncIterator[None]:
    """Let nobody change an attachment for a while: what wants to, waits."""
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT FROM attachments WHERE id = $1 FOR UPDATE", int(attachment_id)
        )
        yield


async def refuse(service: Service, attachment_id: str) -> None:
    """Let no statement that changes an attachment succeed."""
    await service.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.id = {int(attachment_id)} THEN RAISE 'not this one'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON attachments
        FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )


async def is_given_up(inbox: Inbox) -> bool:
    """Whether one message is left to the queue behind, and no other is anywhere."""
    assert inbox.dead is not None
    return await inbox.is_empty() and await inbox.dead.counts() == (1, 0)


async def is_logged_in_pairs(consumer: ConsumerProcess, part: str) -> None:
    """Wait until the log has as many lines `… is back` as `… is unavailable`, of each at most two.

    A fast machine logs one of each; on a slow one the part may fail a second time.
    """

    def count(state: str) -> int:
        return consumer.log().count(f"{part} is {state}")

    await until(lambda: asyncio.sleep(0, 1 <= count("unavailable") == count("back")))
    assert count("unavailable") <= 2


async def until_in_hand(inbox: Inbox, count: int = 1) -> None:
    """Wait until a consumer has messages in hand."""

    async def in_hand() -> bool:
        return await inbox.counts() == (0, count)

    await until(in_hand, within_s=30)


class TestMessages:
    """What becomes of messages while all parts are well."""

    async def test_what_is_recorded_is_deleted_and_wakes_a_worker(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        ids = await created(service, 25)
        await inbox.send(*[await message(service, each) for each in ids])
        await start_consumer(service)
        await taken_up(service, *ids)
        await until(inbox.is_empty)
        async with redis.asyncio.from_url(service.stack.valkey.url) as broker:
            queue = queue_key(service.client.organization_id)

            async def published() -> bool:
                return bool(await broker.llen(queue) >= len(ids))

            await until(published)
        assert await is_left_alone(inbox)

    async def test_many_deliveries_in_any_order_have_one_effect(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        (one,) = await created(service)
        newest = await message(service, one, sequencer="0B", etag="e2")
        older = await message(service, one, sequencer="0A", etag="e1")
        await inbox.send(*[newest] * 6, *[older] * 6, *[newest] * 6)
        await start_consumer(service)
        await until(inbox.is_empty)
        row = await service.row(one)
        assert (row.state, row.etag, row.revision) == ("uploaded", "e2", 1)

    async def test_one_bad_message_among_ten_is_kept_and_the_good_ones_take_effect(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        ids = await created(service, 9)
        good = [await message(service, each) for each in ids]
        bad = '{"Records": [ { "ü": "\\u20ac" }\n, \t '
        await inbox.send(*good[:4], bad, *good[4:])
        await start_consumer(service)
        await taken_up(service, *ids)
        await until(inbox.is_empty)
        (letter,) = await service.database.fetch("SELECT * FROM dead_letters")
        assert letter["body"] == bad.encode()
        assert (letter["source"], letter["count"]) == ("sqs", 1)

    @pytest.mark.parametrize(
        "body",
        [
            '{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-23T10:00:00Z",'
            '"Bucket":"b","RequestId":"r","HostId":"h"}',
            '{"Records":[]}',
            '{"Type":"SubscriptionConfirmation","TopicArn":"arn:aws:sns:us-east-1:1:t",'
            '"Message":"You have chosen","Token":"t"}',
        ],
        ids=["S3's test event", "no records", "SNS's confirmation"],
    )
    async def test_what_tells_of_no_object_is_deleted_and_not_kept(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer, body: str
    ) -> None:
        await inbox.send(body)
        await start_consumer(service)
        await until(inbox.is_empty)
        assert await service.database.fetchval("SELECT count(*) FROM dead_letters") == 0

    async def test_a_message_that_cannot_be_stored_is_left_to_the_redrive_policy(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        *good, bad = await created(service, 10)
        await refuse(service, bad)
        await inbox.send(*[await message(service, each) for each in [*good[:5], bad, *good[5:]]])
        await start_consumer(service)
        await taken_up(service, *good)
        await until(lambda: is_given_up(inbox), within_s=60)
        assert (await service.row(bad)).state == "pending"


def tallies(consumer: ConsumerProcess) -> list[Any]:
    """Read what a consumer has told of the events that it took."""
    lines = [line for line in consumer.log().splitlines() if '"events received"' in line]
    return [json.loads(line)["counts"] for line in lines]


def total(consumer: ConsumerProcess) -> dict[str, Counter[str]]:
    """Add up what a consumer has told of the events that it took."""
    added: dict[str, Counter[str]] = {}
    for tally in tallies(consumer):
        for dialect, counts in tally.items():
            added[dialect] = added.get(dialect, Counter()) + Counter(counts)
    return added


class TestTally:
    """Whatever came is counted, though nothing is asked of a consumer."""

    async def test_what_comes_is_counted_by_dialect_and_effect(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        new, busy, gone = await created(service, 3)
        await service.execute(
            "UPDATE attachments SET state = 'processing', etag = 'e0' WHERE id = $1", int(busy)
        )
        bucket = service.settings.s3_bucket
        minio = record(bucket, (await key_of(service, gone)).replace("/", "%2F"))
        minio |= {"eventSource": "minio:s3", "eventName": "s3:ObjectRemoved:Delete"}
        await inbox.send(
            await message(service, new),
            await message(service, new, etag="e0", sequencer="01"),
            await message(service, busy),
            json.dumps({"Records": [minio]}),
            json.dumps({"Records": [record("another", "a"), record(bucket, "a"), None]}),
            '{"Records":[]}',
            "no JSON",
        )
        consumer = await start_consumer(service, log_format="json")
        await until(inbox.is_empty)
        assert await consumer.stop() == 0
        assert total(consumer) == {
            "aws": {"recorded": 2, "no_effect": 1, "ignored": 2, "unreadable": 1},
            "minio": {"recorded": 1},
            "unknown": {"unreadable": 1},
        }

    async def test_it_is_told_while_it_runs_and_only_where_something_came(
        self, inbox: Inbox, service: Service
    ) -> None:
        json_log = {"ATTACHMENTS_LOG_FORMAT": "json"}
        with launched(service, program=FREQUENT_TALLIES, **json_log) as consumer:
            for number in (1, 2):
                await inbox.send(json.dumps({"Records": [record("another", "a")] * number}))

                async def told(count: int = number) -> bool:
                    return len(tallies(consumer)) == count

                await until(told, within_s=30)
                await asyncio.sleep(1)  # some times in which nothing comes
            assert await consumer.stop() == 0
            assert tallies(consumer) == [{"aws": {"ignored": 1}}, {"aws": {"ignored": 2}}]


class TestStopping:
    """Nothing is lost by a stop or a crash, and no stop takes long."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    async def test_an_idle_consumer_stops_at_once(
        self, service: Service, start_consumer: StartConsumer, number: int
    ) -> None:
        consumer = await start_consumer(service)
        assert await consumer.stop(number, within_s=5) == 0
        assert "consumer has stopped" in consumer.log()

    async def test_under_load_all_takes_effect_through_a_stop(
        self, moto: Moto, start_service: StartService, start_consumer: StartConsumer
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        ids = await created(service, 300)
        await inbox.send(*[await message(service, each) for each in ids])
        consumer = await start_consumer(service)

        async def begun() -> bool:
            return sum(await inbox.counts()) <= len(ids) - 50

        await until(begun, every_s=0.01)
        assert await consumer.stop(within_s=10) == 0
        assert sum(await inbox.counts()) > 0
        await start_consumer(service)
        await taken_up(service, *ids, within_s=60)
        await until(inbox.is_empty, within_s=60)
        assert {(await service.row(each)).revision for each in ids} == {1}

    async def test_what_is_in_hand_and_cannot_be_finished_is_given_back(
        self, moto: Moto, start_service: StartService
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        (one,) = await created(service)
        async with locked(service, one):
            await inbox.send(await message(service, one))
            with launched(service, program=NO_LONG_POLLS) as consumer:
                await until_in_hand(inbox)
                assert await consumer.stop(within_s=10) == 0
            assert await inbox.counts() == (1, 0)
        assert (await service.row(one)).state == "pending"

    async def test_killed_before_the_commit_its_message_comes_again_and_has_one_effect(
        self, moto: Moto, start_service: StartService, start_consumer: StartConsumer
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        (one,) = await created(service)
        consumer = await start_consumer(service)
        async with locked(service, one):
            await inbox.send(await message(service, one))
            await until_in_hand(inbox)
            consumer.kill()
            assert (await service.row(one)).state == "pending"
        await start_consumer(service)
        await taken_up(service, one, within_s=90)
        await until(inbox.is_empty)
        assert (await service.row(one)).revision == 1


class TestOutages:
    """While another part is away messages are kept, and come no oftener for it."""

    async def test_a_message_that_takes_long_is_given_to_nobody_else(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        (one,) = await created(service)
        await start_consumer(service)
        async with locked(service, one):
            await inbox.send(await message(service, one))
            await until_in_hand(inbox)
            other = await start_consumer(service)
            await asyncio.sleep(HOLD_S + 3)  # longer than it was hidden for at first
            assert await inbox.counts() == (0, 1)
        await taken_up(service, one)
        await until(inbox.is_empty)
        assert await is_left_alone(inbox)
        assert "database is unavailable" not in other.log()

    @pytest.mark.parametrize("place", [0, 9])
    async def test_one_that_waits_for_a_lock_holds_up_none_that_came_with_it(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer, place: int
    ) -> None:
        ids = await created(service, 10)
        await inbox.send(*[await message(service, each) for each in ids])
        one = ids.pop(place)
        async with locked(service, one):
            consumer = await start_consumer(service)
            await taken_up(service, *ids)
            await until_in_hand(inbox)  # the others have been deleted
            await asyncio.sleep(HOLD_S / 2)  # it is hidden anew, and nothing that was deleted
            assert (await service.row(one)).state == "pending"
            assert await inbox.counts() == (0, 1)
        await taken_up(service, one)
        await until(inbox.is_empty)
        assert await is_left_alone(inbox)
        await is_logged_in_pairs(consumer, "database")
        assert "delivered twice" not in consumer.log()
        assert "messages not deleted" not in consumer.log()

    async def test_neither_one_that_waits_nor_one_that_cannot_be_stored_holds_others_up(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        one, bad, *others = await created(service, 10)
        await refuse(service, bad)
        await inbox.send(*[await message(service, each) for each in (one, bad, *others)])
        async with locked(service, one):
            await start_consumer(service)
            await taken_up(service, *others)
        await taken_up(service, one)
        await until(lambda: is_given_up(inbox), within_s=60)

    async def test_with_the_database_away_messages_wait_and_use_up_no_receives(
        self, stack: Stack, inbox: Inbox, start_consumer: StartConsumer, tmp_path: Path
    ) -> None:
        postgres = EmbeddedPostgres(directory=tmp_path / "postgres")
        await postgres.start()
        try:
            await asyncio.to_thread(migrate, postgres.url)
            async with running_service(stack, postgres.url, sqs_queue_url=inbox.url) as service:
                ids = await created(service, 15)
                bodies = [await message(service, each) for each in ids]
                consumer = await start_consumer(service)
                assert postgres.child is not None
                postgres.child.kill()
                await inbox.send(*bodies)
                await consumer.says("database is unavailable")
                await until_in_hand(inbox, len(ids))
                await postgres.start()
                await taken_up(service, *ids)
                await until(inbox.is_empty)
                assert await is_left_alone(inbox)
                await is_logged_in_pairs(consumer, "database")
        finally:
            await postgres.stop()

    async def test_a_database_that_does_not_answer_holds_no_stop_up(
        self, moto: Moto, start_service: StartService
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        (one,) = await created(service)
        await inbox.send(await message(service, one))
        async with running_proxy(service.environment["ATTACHMENTS_DATABASE_URL"]) as proxy:
            proxy.swallow()
            url = {"ATTACHMENTS_DATABASE_URL": proxy.url}
            with launched(service, program=NO_LONG_POLLS, **url) as consumer:
                await until_in_hand(inbox)
                assert await consumer.stop(within_s=15) == 0
            assert await inbox.counts() == (1, 0)

    async def test_with_the_broker_away_what_is_committed_is_deleted(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        (one,) = await created(service)
        nowhere = f"redis://{HOST}:{choose_port()}/0"
        consumer = await start_consumer(service, broker_url=nowhere)
        await inbox.send(await message(service, one))
        await taken_up(service, one)
        await until(inbox.is_empty)
        assert await consumer.stop(within_s=10) == 0

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(None, id="nothing listens"),
            pytest.param(status_line(403), id="access is denied"),
        ],
    )
    async def test_a_queue_that_goes_away_is_told_of_once_and_asked_again(
        self,
        moto: Moto,
        start_service: StartService,
        start_consumer: StartConsumer,
        answer: bytes | None,
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        (one,) = await created(service)
        async with running_proxy(inbox.url) as proxy:
            consumer = await start_consumer(service, sqs_queue_url=proxy.url)
            proxy.cut()
            if answer is not None:
                proxy.let_go()
                proxy.answer(answer)
            await consumer.says("queue is unavailable")
            await asyncio.sleep(3)  # some tries of each poller
            proxy.let_go()
            await inbox.send(await message(service, one))
            await taken_up(service, one, within_s=60)
            await is_logged_in_pairs(consumer, "queue")

    async def test_a_queue_that_does_not_answer_holds_no_stop_up(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        async with running_proxy(inbox.url) as proxy:
            consumer = await start_consumer(service, sqs_queue_url=proxy.url)
            proxy.swallow()
            assert await consumer.stop(within_s=10) == 0
            assert "is back" not in consumer.log()


class TestStart:
    """What an operator can mend is told at once; what passes is waited for."""

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            pytest.param({"ATTACHMENTS_SQS_QUEUE_URL": ""}, "is not set", id="not set"),
            pytest.param({"path": "/123456789012/nope"}, "NonExistentQueue", id="no such queue"),
            pytest.param({"path": ""}, "the queue refuses us: ", id="no queue named"),
            pytest.param(
                {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
                "there are no AWS credentials",
                id="no credentials",
            ),
            pytest.param(
                {"ATTACHMENTS_SQS_QUEUE_URL": "http://a b/1/q"}, "is no address", id="no address"
            ),
        ],
    )
    async def test_what_is_mistyped_is_told_in_one_line_that_names_it(
        self, moto: Moto, service: Service, changes: dict[str, str], words: str
    ) -> None:
        if "path" in changes:
            changes = {"ATTACHMENTS_SQS_QUEUE_URL": moto.url + changes["path"]}
        with launched(service, **changes) as consumer:
            assert await consumer.ended(within_s=30) == 1
            *_, told = consumer.log().splitlines()
        assert told.startswith("  ATTACHMENTS_SQS_QUEUE_URL: ")
        assert words in told

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            pytest.param({"AWS_PROFILE": "nope"}, "ProfileNotFound: ", id="no such profile"),
            pytest.param(
                {"AWS_SECRET_ACCESS_KEY": ""}, "PartialCredentialsError: ", id="half of a key"
            ),
        ],
    )
    async def test_credentials_that_cannot_be_used_are_told_in_one_line(
        self, service: Service, changes: dict[str, str], words: str
    ) -> None:
        environment = {name: value for name, value in changes.items() if value}
        gone = [name for name, value in changes.items() if not value]
        with launched(service, *gone, **environment) as consumer:
            assert await consumer.ended(within_s=30) == 1
            *_, told = consumer.log().splitlines()
        assert told.startswith(f"  AWS credentials: {words}")

    async def test_a_queue_that_may_not_be_read_is_told_in_one_line(self, service: Service) -> None:
        async with running_moto() as guarded:
            inbox = await guarded.make_inbox()
            await guarded.guard()
            with launched(service, ATTACHMENTS_SQS_QUEUE_URL=inbox.url) as consumer:
                assert await consumer.ended(within_s=30) == 1
                *_, told = consumer.log().splitlines()
        assert told.startswith("  ATTACHMENTS_SQS_QUEUE_URL: the queue refuses us: ")

    async def test_a_queue_that_cannot_be_reached_yet_is_waited_for(
        self, service: Service, start_consumer: StartConsumer
    ) -> None:
        (one,) = await created(service)
        port = choose_port()
        url = f"http://{HOST}:{port}/123456789012/late"
        consumer = await start_consumer(service, sqs_queue_url=url)
        await consumer.says("queue is unavailable")
        async with running_moto(port) as late:
            inbox = await late.make_inbox("late")
            await inbox.send(await message(service, one))
            await taken_up(service, one)
            await until(inbox.is_empty)
            await consumer.stop()
