"""`attachments doctor`, as an operator runs it: on a healthy service, then with one ill each."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import redis.asyncio
from aiobotocore.session import get_session

from deploy.doctor import checks
from deploy.embedded.seaweedfs import EmbeddedSeaweedFS
from deploy.embedded.valkey import EmbeddedValkey
from shared import keys, probes
from tests.support.consumer import ConsumerProcess
from tests.support.doctor import NAMES, assert_no_secret, environment, examine, read
from tests.support.local import LocalStack, bare_environment
from tests.support.moto_server import CREDENTIALS, running_moto
from tests.support.objects import exists, opened_storage
from tests.support.proxy import running_proxy
from tests.support.service import Service, until
from tests.support.starting import StartService, StartWorker

COMMAND_TIMEOUT_S = 120
ORIGIN = "https://app.example"


async def start_doctor(variables: Mapping[str, str], *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.cli",
        "doctor",
        *options,
        env={**bare_environment(), **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run_doctor(variables: Mapping[str, str], *options: str) -> tuple[int, str]:
    """Run the command and return its exit status and what it printed."""
    process = await start_doctor(variables, *options)
    out, err = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    assert err == b""
    assert_no_secret(out.decode(), variables)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def left_behind(service: Service) -> list[str]:
    """List what doctors have left: rows, arrivals, and objects of which events told."""
    rows = await service.database.fetch(
        "SELECT 'row ' || id FROM attachments WHERE organization_id = $1"
        " UNION ALL SELECT 'arrival ' || id FROM probe_arrivals",
        probes.ORGANIZATION,
    )
    left = [str(row[0]) for row in rows]
    async with opened_storage(service.stack) as storage:
        for key in {event["key"] for event in service.stack.relay.seen}:
            _, found, path = key.partition(f"/{keys.PREFIX}")
            if found and path.endswith(f"/{probes.NAME}"):
                left += [path] if await exists(storage, f"{keys.PREFIX}{path}") else []
    return left


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- well --------------------------------------------------------------------------------


async def test_a_healthy_service_is_found_healthy_and_nothing_is_left_behind(
    working: Service,
) -> None:
    variables = environment(working)
    seen = len(working.stack.relay.seen)
    status, printed = await run_doctor(variables, "--json", "--origin", ORIGIN)
    examined = read(json.loads(printed), variables)
    assert status == 0
    assert examined.named("ok") == NAMES
    assert "webhook as seaweedfs" in examined["event"]["found"]
    assert examined["event"]["found"].endswith("once")
    assert examined["event"]["seconds"] >= 0
    assert "320×240" in examined["thumbnail"]["found"]
    assert examined["thumbnail"]["seconds"] >= 0
    assert examined["links"]["found"].startswith("url and thumb open at ")
    assert any(probes.NAME in event["key"] for event in working.stack.relay.seen[seen:])
    assert await left_behind(working) == []


async def test_people_get_a_table_that_ends_in_the_sum(working: Service) -> None:
    status, printed = await run_doctor(environment(working))
    assert status == 0
    assert all(f"│ {name} " in printed for name in NAMES)
    assert printed.splitlines()[-1] == f"healthy: {len(NAMES)} ok"


async def test_what_ails_is_shown_in_the_table_with_its_remedy(
    working: Service, closed_port: int
) -> None:
    status, printed = await run_doctor(
        environment(working, broker_url=f"redis://:a-password@127.0.0.1:{closed_port}/0")
    )
    assert status == 1
    assert "a-password" not in printed
    assert "→ start it, and check that ATTACHMENTS_BROKER_URL" in printed
    assert "needs broker, which failed" in printed
    assert printed.splitlines()[-1].startswith("not healthy: ")


def test_a_local_stack_is_examined_by_its_data_directory(local: LocalStack) -> None:
    ended = local.run("doctor", "--json")
    assert ended.returncode == 0, ended.stdout
    assert json.loads(ended.stdout)["healthy"] is True
    assert ended.stderr == ""


# --- settings ----------------------------------------------------------------------------


async def test_all_faults_of_the_settings_are_told_together(working: Service) -> None:
    variables = environment(working, max_size="a-secret-maybe", s3_region="-", time_zone="Mars")
    status, printed = await run_doctor(variables, "--json")
    examined = read(json.loads(printed), variables)
    assert status == 1
    assert examined.named("failed") == ["settings"]
    assert examined.named("skipped") == NAMES[1:]
    found = examined["settings"]["found"]
    assert [line.partition(":")[0] for line in found.splitlines()] == [
        "ATTACHMENTS_S3_REGION",
        "ATTACHMENTS_MAX_SIZE",
        "ATTACHMENTS_TIME_ZONE",
    ]
    assert "a-secret-maybe" not in found


# --- database ----------------------------------------------------------------------------


async def test_a_database_that_is_down_leaves_the_rest_to_be_examined(
    working: Service, closed_port: int
) -> None:
    url = f"postgresql://attachments:a-password@127.0.0.1:{closed_port}/attachments"
    examined = await examine(environment(working, database_url=url))
    assert examined.named("failed") == ["database"]
    found = f"PostgreSQL at 127.0.0.1:{closed_port} cannot be reached: connection refused"
    assert examined["database"]["found"] == found
    assert examined["schema"]["found"] == "needs database, which failed"
    assert examined["upload"]["found"] == "needs schema, which was skipped"
    assert {"broker", "worker", "store", "clocks", "api"} <= set(examined.named("ok"))


async def test_a_wrong_password_of_the_database_is_named_but_not_shown(working: Service) -> None:
    url = working.environment["ATTACHMENTS_DATABASE_URL"]
    examined = await examine(
        environment(working, database_url=url.replace("attachments:", "attachments:wrong-", 1))
    )
    assert "refuses the user or the password" in examined["database"]["found"]


async def test_a_database_that_does_not_exist_is_named_so(working: Service) -> None:
    url = working.environment["ATTACHMENTS_DATABASE_URL"].rpartition("/")[0]
    examined = await examine(environment(working, database_url=f"{url}/nowhere"))
    assert "no database of that name" in examined["database"]["found"]


async def test_a_database_that_may_not_be_written_to_fails(
    working: Service, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.close()
    examined = await examine(environment(working, database_url=database_url))
    assert examined.named("failed") == ["database"]
    assert "read-only" in examined["database"]["found"]


async def test_a_database_user_without_privileges_is_told_so(
    working: Service, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP ROLE IF EXISTS reader")
    await connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader-password'")
    await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    await connection.close()
    host = database_url.partition("@")[2]
    url = f"postgresql://reader:reader-password@{host}"
    examined = await examine(environment(working, database_url=url))
    assert "upload" in examined.named("failed")
    assert "lacks privileges" in examined["upload"]["found"]
    assert "grant" in examined["upload"]["mend"]


@pytest.mark.parametrize(
    ("version", "found", "mend"),
    [
        pytest.param(None, "no schema", "attachments migrate", id="empty"),
        pytest.param("0001", "behind", "attachments migrate", id="behind"),
        pytest.param("9999", "does not know", "version", id="ahead"),
    ],
)
async def test_a_schema_of_another_version_fails(
    working: Service, database_url: str, version: str | None, found: str, mend: str
) -> None:
    connection = await asyncpg.connect(database_url)
    if version is None:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    else:
        await connection.execute("UPDATE alembic_version SET version_num = $1", version)
    await connection.close()
    examined = await examine(environment(working, database_url=database_url))
    assert examined.named("failed") == ["schema"]
    assert found in examined["schema"]["found"]
    assert mend in examined["schema"]["mend"]
    assert examined["removal"]["status"] == "skipped"


# --- broker ------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A broker of the test's own, to be spoiled."""
    server = EmbeddedValkey(directory=tmp_path / "valkey")
    await server.start()
    yield server
    await server.stop()


async def configure(valkey: EmbeddedValkey, **options: str) -> None:
    async with redis.asyncio.from_url(valkey.url) as client:
        for name, value in options.items():
            await client.config_set(name.replace("_", "-"), value)


async def test_a_broker_that_is_down_does_not_keep_the_upload_from_being_tried(
    working: Service, closed_port: int
) -> None:
    examined = await examine(environment(working, broker_url=f"redis://127.0.0.1:{closed_port}/0"))
    assert examined.named("failed") == ["broker"]
    found = f"the broker at 127.0.0.1:{closed_port} cannot be reached: connection refused"
    assert examined["broker"]["found"] == found
    assert examined.named("skipped") == ["persistence", "eviction", "rights", "worker"]
    assert examined["thumbnail"]["status"] == "ok"


async def test_a_broker_that_evicts_fails_once_its_memory_is_limited(
    working: Service, valkey: EmbeddedValkey
) -> None:
    await configure(valkey, maxmemory_policy="allkeys-lru", appendonly="no")
    variables = environment(working, broker_url=valkey.url)
    examined = await examine(variables)
    assert examined.named("warning") == ["persistence", "eviction"]
    assert "noeviction" in examined["eviction"]["mend"]
    assert "appendonly yes" in examined["persistence"]["mend"]
    # nothing listens to this broker
    assert examined.named("failed") == ["worker"]
    assert "attachments worker" in examined["worker"]["mend"]

    await configure(valkey, maxmemory="100mb")
    assert (await examine(variables))["eviction"]["status"] == "failed"


async def test_a_broker_that_tells_nothing_of_itself_is_a_warning(
    working: Service, valkey: EmbeddedValkey
) -> None:
    async with redis.asyncio.from_url(valkey.url) as client:
        await client.acl_setuser(
            "mute",
            enabled=True,
            passwords=["+its-password"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
            commands=["-info", "-client"],
        )
    url = valkey.url.replace(f":{valkey.password}@", "mute:its-password@")
    examined = await examine(environment(working, broker_url=url))
    assert examined.named("warning") == ["broker", "persistence", "eviction", "worker"]

    wrong = url.replace("its-password", "not-its-password")
    examined = await examine(environment(working, broker_url=wrong))
    assert "refuses the user or the password" in examined["broker"]["found"]


# --- store -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "found", "mend"),
    [
        pytest.param(
            {"ATTACHMENTS_S3_BUCKET": "nowhere"},
            "no such bucket",
            "ATTACHMENTS_S3_BUCKET",
            id="no bucket",
        ),
        pytest.param(
            {"AWS_ACCESS_KEY_ID": "nobody"},
            "does not know the access key",
            "AWS_ACCESS_KEY_ID",
            id="unknown key",
        ),
        pytest.param(
            {"AWS_SECRET_ACCESS_KEY": "another secret"},
            "secret key does not belong",
            "AWS_SECRET_ACCESS_KEY",
            id="wrong secret",
        ),
        pytest.param(
            {
                "AWS_ACCESS_KEY_ID": "",
                "AWS_SECRET_ACCESS_KEY": "",
                "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            },
            "no AWS credentials",
            "AWS_ACCESS_KEY_ID",
            id="no credentials",
        ),
        pytest.param(
            {"AWS_PROFILE": "nobody"},
            "nobody",
            "profile",
            id="unknown profile",
        ),
    ],
)
async def test_what_bars_us_from_the_bucket_is_named(
    working: Service, changes: dict[str, str], found: str, mend: str
) -> None:
    variables = {**environment(working), **changes}
    examined = await examine({name: value for name, value in variables.items() if value})
    assert examined.named("failed") == ["store"]
    assert found in examined["store"]["found"]
    assert mend in examined["store"]["mend"]
    assert examined["upload"]["found"] == "needs store, which failed"


async def test_a_store_that_does_not_answer_is_named_with_its_address(
    working: Service, closed_port: int
) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    examined = await examine(environment(working, s3_endpoint_url=url))
    assert examined.named("failed") == ["store"]
    assert url in examined["store"]["found"]


class SharedStore(EmbeddedSeaweedFS):
    """A store with a second key that may only write."""

    def _identities(self) -> str:
        document = json.loads(super()._identities())
        document["identities"].append(
            {
                "name": "writer",
                "credentials": [{"accessKey": "writer", "secretKey": "writer-secret"}],
                "actions": ["Write"],
            }
        )
        return json.dumps(document)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SharedStore]:
    """A store of the test's own, to be spoiled; it sends no events."""
    server = SharedStore(directory=tmp_path / "seaweedfs")
    await server.start()
    yield server
    await server.stop()


def in_store(store: SharedStore) -> dict[str, str]:
    return {
        "ATTACHMENTS_S3_BUCKET": store.bucket,
        "ATTACHMENTS_S3_ENDPOINT_URL": store.url,
        "AWS_ACCESS_KEY_ID": store.access_key_id,
        "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
    }


async def test_a_key_that_may_not_tell_what_is_missing_fails_with_what_to_grant(
    working: Service, store: SharedStore
) -> None:
    writer = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": "writer-secret"}
    examined = await examine({**environment(working), **in_store(store), **writer})
    assert examined.named("failed") == ["store"]
    assert "403" in examined["store"]["found"]
    assert "s3:ListBucket" in examined["store"]["mend"]


async def test_a_bucket_without_cors_for_our_pages_fails_only_if_they_are_named(
    working: Service, store: SharedStore
) -> None:
    rule: Any = {"AllowedOrigins": ["https://other.example"], "AllowedMethods": ["POST"]}
    async with get_session().create_client(
        "s3",
        endpoint_url=store.url,
        region_name=store.region,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
    ) as client:
        await client.put_bucket_cors(Bucket=store.bucket, CORSConfiguration={"CORSRules": [rule]})
    variables = {**environment(working), **in_store(store)}

    named = await examine(variables, origin=ORIGIN, wait=1)
    assert named["cors"]["status"] == "failed"
    assert ORIGIN in named["cors"]["found"]
    assert f'"AllowedOrigins": ["{ORIGIN}"]' in named["cors"]["mend"]

    unnamed = await examine(variables, wait=1)
    assert unnamed["cors"]["status"] == "warning"
    assert "--origin" in unnamed["cors"]["mend"]

    admitted = await examine(variables, origin="https://other.example", wait=1)
    assert admitted["cors"]["status"] == "ok"
    # and its uploads are nobody's: this store sends no events, and workers look in another one
    assert admitted["event"]["status"] == "failed"


async def test_a_store_that_does_not_answer_at_all_is_given_up_in_time(
    working: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LIMIT_S", 2.0)
    monkeypatch.setattr(checks, "REQUEST_TIMEOUT_S", 1.0)
    async with running_proxy(working.stack.seaweedfs.url) as proxy:
        proxy.hold()
        examined = await examine(environment(working, s3_endpoint_url=proxy.url), wait=1)
    assert examined.named("failed") == ["store"]
    assert "no end within 2 s" in examined["store"]["found"]
    assert "store not known (no answer in time)" in examined["clocks"]["found"]


async def test_a_public_address_that_clients_cannot_post_to_fails_and_leaves_no_probe(
    working: Service, closed_port: int
) -> None:
    url = f"http://127.0.0.1:{closed_port}/bucket"
    examined = await examine(environment(working, s3_public_url=url))
    assert examined.named("failed") == ["upload"]
    assert url in examined["upload"]["found"]
    assert "ATTACHMENTS_S3_PUBLIC_URL" in examined["upload"]["mend"]

    nowhere = f"{working.stack.seaweedfs.url}/nowhere"
    examined = await examine(environment(working, s3_public_url=nowhere))
    assert examined.named("failed") == ["upload"]
    assert "ATTACHMENTS_S3_PUBLIC_URL" in examined["upload"]["mend"]

    examined = await examine(environment(working, max_size="1000"))
    assert examined.named("failed") == ["upload"]
    assert "ATTACHMENTS_MAX_SIZE" in examined["upload"]["mend"]
    assert await left_behind(working) == []


async def test_public_files_that_nobody_may_read_fail(working: Service) -> None:
    examined = await examine(
        environment(working, files_public="true", files_url=working.settings.upload_url)
    )
    assert examined.named("failed") == ["links"]
    assert "403" in examined["links"]["found"]
    assert "may be read by everyone" in examined["links"]["mend"]


# --- API, worker, events -----------------------------------------------------------------


async def test_an_api_that_is_down_is_named_with_its_address(
    working: Service, closed_port: int
) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    examined = await examine(environment(working, api_url=url))
    assert examined.named("failed") == ["api"]
    assert url in examined["api"]["found"]
    assert examined.named("skipped") == ["links"]


async def test_another_server_at_the_apis_address_is_not_taken_for_it(working: Service) -> None:
    examined = await examine(environment(working, api_url=working.stack.seaweedfs.url))
    assert examined["api"]["status"] == "failed"
    assert "not as our API does" in examined["api"]["found"]


async def test_addresses_that_are_signed_with_another_secret_do_not_open(working: Service) -> None:
    examined = await examine(environment(working, files_secret="a secret that the API has not"))
    assert examined.named("failed") == ["links"]
    assert "404" in examined["links"]["found"]
    assert "ATTACHMENTS_FILES_SECRET" in examined["links"]["mend"]
    assert await left_behind(working) == []


async def test_without_a_worker_the_event_arrives_and_nobody_takes_the_upload(
    service: Service,
) -> None:
    examined = await examine(environment(service), wait=6)
    assert examined.named("failed") == ["worker", "thumbnail"]
    assert examined["event"]["status"] == "ok"
    assert "no worker took the upload" in examined["thumbnail"]["found"]
    assert "attachments worker" in examined["thumbnail"]["mend"]
    assert await left_behind(service) == []


async def test_a_lost_event_fails_although_the_sweep_finds_the_upload(
    service: Service, start_worker: StartWorker
) -> None:
    await start_worker(service, sweep_interval="0.3")
    service.stack.relay.target = None
    examined = await examine(environment(service), wait=8)
    assert examined.named("failed") == ["event"]
    assert "no event came within 8 s" in examined["event"]["found"]
    assert "the sweep found the upload" in examined["event"]["found"]
    assert f"{service.base_url}/events/s3" in examined["event"]["mend"]
    assert "the API accepts events" in examined["event"]["mend"]
    assert examined["thumbnail"]["status"] == "ok"
    assert await left_behind(service) == []


async def test_an_event_that_comes_through_sqs_is_told_so(
    start_service: StartService, start_worker: StartWorker
) -> None:
    async with running_moto() as moto:
        bucket, inbox = await moto.make_bucket(), await moto.make_inbox()
        await moto.wire_sqs(bucket, inbox)
        service = await start_service(**moto.settings(inbox, bucket), events_tokens="")
        variables = {**environment(service), **CREDENTIALS}
        await start_worker(service)

        lost = await examine(variables, wait=1)
        assert "event" in lost.named("failed")
        assert "`attachments consume` runs" in lost["event"]["mend"]
        assert "ATTACHMENTS_EVENTS_TOKENS" not in lost["event"]["mend"]

        consumer = ConsumerProcess({"PATH": os.environ["PATH"], **variables})
        try:
            await consumer.start()
            examined = await examine(variables)
        finally:
            consumer.close()
    assert examined["event"]["status"] == "ok"
    assert "by sqs as aws" in examined["event"]["found"]


async def test_an_event_that_is_lost_for_its_token_is_told_so(service: Service) -> None:
    service.stack.relay.target = None
    variables = environment(service, events_tokens="a-token-that-the-api-has-not")
    examined = await examine(variables, wait=1)
    assert "does not take the token" in examined["event"]["mend"]
    assert "a-token-that-the-api-has-not" not in str(examined.document)

    examined = await examine(environment(service, events_tokens=""), wait=1)
    assert "ATTACHMENTS_EVENTS_TOKENS is not set" in examined["event"]["mend"]


async def test_an_event_that_comes_twice_is_a_warning(
    working: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, once = working.stack.relay, working.stack.relay.post

    async def twice(body: bytes) -> int:
        await once(body)
        return await once(body)

    monkeypatch.setattr(relay, "post", twice)
    examined = await examine(environment(working))
    assert examined.named("warning") == ["event"]
    assert "2 times" in examined["event"]["found"]
    assert await left_behind(working) == []


async def test_a_probe_that_fails_is_told_with_its_reason(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    await start_worker(service, max_size="100")
    examined = await examine(environment(service), wait=30)
    assert examined.named("failed") == ["thumbnail"]
    assert "rejected: The object is larger than an upload may be." in examined["thumbnail"]["found"]
    assert examined["links"]["status"] == "ok"
    assert await left_behind(service) == []


# --- leaving nothing behind --------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_a_doctor_that_is_told_to_stop_removes_its_probe_and_shows_what_it_found(
    service: Service, number: int
) -> None:
    service.stack.relay.target = None
    seen = len(service.stack.relay.seen)
    variables = environment(service)
    process = await start_doctor(variables, "--wait", "600", "--json")

    async def uploaded() -> bool:
        return any(probes.NAME in event["key"] for event in service.stack.relay.seen[seen:])

    await until(uploaded, within_s=30)
    await event_awaited(service)
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (1, b"")
    examined = read(json.loads(out), variables)
    assert examined["event"]["found"] == "the doctor received a signal to stop"
    assert examined.named("skipped") == ["thumbnail", "links"]
    assert examined["removal"]["status"] == "ok"
    assert await left_behind(service) == []


async def probe_of(service: Service) -> int:
    """Wait until a doctor has created its probe."""

    async def found() -> Any:
        return await service.database.fetchval(
            "SELECT id FROM attachments WHERE organization_id = $1", probes.ORGANIZATION
        )

    return int(await until(found, within_s=30))


async def event_awaited(service: Service) -> None:
    """Wait until a doctor asks the database for the event of its probe."""

    async def asked() -> Any:
        return await service.database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE 'SELECT source, dialect%'"
        )

    await until(asked, within_s=30)


async def test_a_probe_that_a_worker_has_in_hand_is_left_to_the_sweep(service: Service) -> None:
    async def take() -> int:
        attachment_id = await probe_of(service)
        await service.execute(
            "UPDATE attachments SET state = 'processing', attempt = 1,"
            " due_at = now() + interval '1 hour' WHERE id = $1",
            attachment_id,
        )
        return attachment_id

    examined, attachment_id = await asyncio.gather(examine(environment(service), wait=6), take())
    assert examined["removal"]["status"] == "warning"
    assert "marked deleted" in examined["removal"]["found"]
    row = await service.row(attachment_id)
    assert row.deleted_at is not None
    assert row.due_at is not None
    async with opened_storage(service.stack) as storage:
        assert not await exists(storage, row.key)


async def test_a_database_that_goes_away_meanwhile_costs_the_rest_and_no_traceback(
    service: Service,
) -> None:
    service.stack.relay.target = None
    url = service.environment["ATTACHMENTS_DATABASE_URL"]
    async with running_proxy(url) as proxy:

        async def cut() -> int:
            attachment_id = await probe_of(service)
            await event_awaited(service)
            proxy.cut()
            return attachment_id

        variables = environment(service, database_url=proxy.url)
        examined, attachment_id = await asyncio.gather(examine(variables, wait=20), cut())
    assert {"event", "thumbnail", "links", "removal"} <= set(examined.named("failed"))
    assert "the connection to the database was lost" in examined["event"]["found"]
    assert f"attachment {attachment_id} cannot be removed" in examined["removal"]["found"]


async def test_a_store_that_goes_away_meanwhile_leaves_the_probe_to_the_sweep(
    service: Service,
) -> None:
    service.stack.relay.target = None
    async with running_proxy(service.stack.seaweedfs.url) as proxy:

        async def cut() -> int:
            attachment_id = await probe_of(service)
            await event_awaited(service)
            proxy.cut()
            return attachment_id

        variables = environment(
            service, s3_endpoint_url=proxy.url, s3_public_url=service.settings.upload_url
        )
        examined, attachment_id = await asyncio.gather(examine(variables, wait=3), cut())
    assert examined["removal"]["status"] == "failed"
    row = await service.row(attachment_id)
    assert row.deleted_at is not None
    assert row.due_at is not None


async def test_leftovers_of_an_hour_ago_are_removed_and_younger_ones_are_not(
    working: Service,
) -> None:
    ids = [
        await working.database.fetchval(
            "INSERT INTO attachments (organization_id, bucket, name, file_name, policy_expires_at,"
            " created_at, deleted_at, due_at) VALUES ($1, $2, $3, $3, now() + interval '1 hour',"
            " now() - $4 * interval '1 minute', $5, now() + interval '1 hour') RETURNING id",
            probes.ORGANIZATION,
            working.settings.s3_bucket,
            probes.NAME,
            age,
            None,
        )
        for age in (90, 61, 30)
    ]
    await working.execute("UPDATE attachments SET deleted_at = now() WHERE id = $1", ids[1])
    for attachment_id, age in zip(ids, (90, 61, 30), strict=True):
        await working.execute(
            "INSERT INTO probe_arrivals (attachment_id, source, dialect, arrived_at)"
            " VALUES ($1, 'webhook', 'x', now() - $2 * interval '1 minute')",
            attachment_id,
            age,
        )
    async with opened_storage(working.stack) as storage:
        objects = [keys.original_key(attachment_id, probes.NAME) for attachment_id in ids]
        for key in objects:
            await storage.write(key, b"left", content_type="image/png")
        examined = await examine(environment(working))
        assert "2 of earlier doctors" in examined["removal"]["found"]
        assert [await exists(storage, key) for key in objects] == [False, False, True]
        await storage.delete(objects[2])
    rows = await working.database.fetch("SELECT id FROM attachments WHERE organization_id = 0")
    assert [row[0] for row in rows] == ids[2:]
    arrivals = await working.database.fetch("SELECT attachment_id FROM probe_arrivals")
    # Writing its object was an event of the youngest; it is an arrival like that of the test.
    assert {row[0] for row in arrivals} == set(ids[2:])
    await working.execute("DELETE FROM attachments WHERE organization_id = 0")
    await working.execute("DELETE FROM probe_arrivals")
