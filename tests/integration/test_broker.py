"""The publishing of wake-ups: what lies in the broker in the end, and what its absence costs."""

import asyncio
import json
import os
import re
import signal
import ssl
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest
import pytest_asyncio
import redis.asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.embedded.valkey import EmbeddedValkey, find_binary
from shared.broker import ORGANIZATION, QUEUES, TASK, make_celery, queue_name
from shared.lifecycle import WakeUp
from shared.publisher import MAX_BATCH, MAX_QUEUED, MAX_WAITING, Publisher
from tests.support.service import until

Broker: TypeAlias = "redis.asyncio.Redis"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PASSWORD = "p/ä:@ ?#;%"


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A broker of the test's own, which it may freeze and kill."""
    server = EmbeddedValkey(directory=tmp_path / "valkey")
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def broker(valkey: EmbeddedValkey) -> AsyncIterator[Broker]:
    """A look into it."""
    async with redis.asyncio.from_url(valkey.url) as client:
        yield client


@pytest.fixture
def publisher(valkey: EmbeddedValkey) -> Iterator[Publisher]:
    """A publisher to it."""
    with publishing(valkey.url) as made:
        yield made


@contextmanager
def publishing(broker_url: str) -> Iterator[Publisher]:
    made = Publisher(broker_url, "")
    try:
        yield made
    finally:
        made.close()


@contextmanager
def frozen(server: EmbeddedValkey) -> Iterator[None]:
    """Keep the broker from answering, though its port is open."""
    assert server.child is not None
    os.kill(server.child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.child.pid, signal.SIGCONT)


def wake_up(number: int, *, organization_id: int = 1) -> WakeUp:
    return WakeUp(attachment_id=number, organization_id=organization_id, revision=1)


async def queued(broker: Broker, queue: str, count: int) -> list[dict[str, Any]]:
    """Wait for that many messages in a queue; gives them as they lie there, the oldest first."""

    async def arrived() -> bool:
        return int(await broker.llen(queue)) >= count

    await until(arrived)
    return [json.loads(text) for text in reversed(await broker.lrange(queue, 0, -1))]


def arguments(message: dict[str, Any]) -> Any:
    return json.loads(b64decode(message["body"]))[0]


# --- the message ------------------------------------------------------------------------------


def without_ids(text: Any) -> Any:
    """Blank the ids of a message, and who sent it; with its body made readable."""
    message = json.loads(text)
    body = message["body"].encode()
    assert text.count(body) == 1
    text = text.replace(body, b64decode(body))
    assert message["headers"]["id"] == message["headers"]["root_id"]
    for number in (
        message["headers"]["id"],
        message["properties"]["delivery_tag"],
        message["properties"]["reply_to"],
    ):
        assert UUID.fullmatch(number)
        text = text.replace(number.encode(), b"id")
    return text


async def test_a_message_is_the_one_that_celery_would_send(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    queue = queue_name(71)
    publisher.publish(WakeUp(attachment_id=2**40, organization_id=71, revision=3))
    await queued(broker, queue, 1)
    with make_celery(valkey.url) as app:
        headers = {ORGANIZATION: "71"}
        await asyncio.to_thread(app.send_task, TASK, args=(2**40, 3), queue=queue, headers=headers)
    celerys, ours = await broker.lrange(queue, 0, -1)
    assert without_ids(ours) == without_ids(celerys)
    assert ours != celerys


async def test_every_message_has_an_id_and_a_tag_of_its_own(
    broker: Broker, publisher: Publisher
) -> None:
    for _ in range(50):
        publisher.publish(wake_up(1))
    messages = await queued(broker, queue_name(1), 50)
    assert len({message["headers"]["id"] for message in messages}) == 50
    assert len({message["properties"]["delivery_tag"] for message in messages}) == 50


async def test_wake_ups_go_to_the_queues_of_their_organizations_in_their_order(
    broker: Broker, publisher: Publisher
) -> None:
    organizations = range(2 * QUEUES)
    for number in range(5):
        for organization_id in organizations:
            publisher.publish(wake_up(number, organization_id=organization_id))
    for organization_id in range(QUEUES):
        queue = queue_name(organization_id)
        messages = await queued(broker, queue, 10)
        assert [arguments(message)[0] for message in messages] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert {message["properties"]["delivery_info"]["routing_key"] for message in messages} == {
            queue
        }


async def test_what_waits_is_published_in_few_round_trips(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    await broker.ping()
    with frozen(valkey):
        for number in range(5 * MAX_BATCH):
            publisher.publish(wake_up(number))
    assert len(await queued(broker, queue_name(1), 5 * MAX_BATCH)) == 5 * MAX_BATCH
    statistics = await broker.info("commandstats")
    assert statistics["cmdstat_lpush"]["calls"] <= 6  # the first may have found but one waiting
    assert publisher.dropped == 0


# --- bounds -----------------------------------------------------------------------------------


async def test_a_full_queue_takes_no_more_until_it_has_been_worked_off(
    broker: Broker, publisher: Publisher
) -> None:
    full, other = queue_name(1), queue_name(2)
    await broker.rpush(full, *[b"{}"] * (MAX_QUEUED - 1))
    for number in range(3):
        publisher.publish(wake_up(number, organization_id=1))
        publisher.publish(wake_up(number, organization_id=2))
    await queued(broker, other, 3)
    assert await broker.llen(full) == MAX_QUEUED

    async def left_out() -> bool:
        return publisher.dropped == 2

    await until(left_out)
    await broker.delete(full)

    async def published_again() -> bool:
        publisher.publish(wake_up(3, organization_id=1))
        return bool(await broker.llen(full))

    await until(published_again)


async def test_no_more_than_so_many_wait_for_a_broker_that_does_not_answer(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(wake_up(0))
    await queued(broker, queue_name(1), 1)
    with frozen(valkey):
        for organization_id in range(2, 2 + 2 * MAX_WAITING):
            publisher.publish(wake_up(organization_id, organization_id=organization_id))
    least = 2 * MAX_WAITING - MAX_WAITING - MAX_BATCH
    assert least <= publisher.dropped <= MAX_WAITING

    async def all_published() -> bool:
        lengths = [await broker.llen(queue_name(number)) for number in range(QUEUES)]
        return sum(lengths) == 1 + 2 * MAX_WAITING - publisher.dropped

    await until(all_published, within_s=30)


# --- a broker that is away --------------------------------------------------------------------


async def test_a_broker_that_dies_costs_wake_ups_and_is_used_again_when_it_is_back(
    valkey: EmbeddedValkey,
    broker: Broker,
    publisher: Publisher,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publisher.publish(wake_up(1))
    await queued(broker, queue_name(1), 1)
    valkey.kill()
    for number in range(3):
        publisher.publish(wake_up(number))

        async def given_up(number: int = number) -> bool:
            return publisher.dropped == number + 1

        await until(given_up)
    await valkey.start()
    await broker.connection_pool.disconnect()
    await broker.delete(queue_name(1))

    async def published() -> bool:
        publisher.publish(wake_up(4))
        return bool(await broker.llen(queue_name(1)))

    await until(published)
    publisher.close()
    said = "".join(capsys.readouterr())
    assert said.count("broker is unavailable") == 1
    assert f"it cannot be reached at 127.0.0.1:{valkey.port}" in said
    assert said.count("broker is back") == 1
    assert "Traceback" not in said


async def test_a_broker_that_was_restarted_meanwhile_costs_nothing(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(wake_up(1))
    await queued(broker, queue_name(1), 1)
    valkey.kill()
    await valkey.start()
    await broker.connection_pool.disconnect()
    await broker.delete(queue_name(1))
    publisher.publish(wake_up(2))
    assert [arguments(each) for each in await queued(broker, queue_name(1), 1)] == [[2, 1]]
    assert publisher.dropped == 0


async def test_a_broker_that_is_away_from_the_beginning_is_used_when_it_comes(
    tmp_path: Path,
) -> None:
    valkey = EmbeddedValkey(directory=tmp_path / "late")
    with publishing(valkey.url) as publisher:
        publisher.publish(wake_up(1))

        async def given_up() -> bool:
            return publisher.dropped == 1

        await until(given_up)
        await valkey.start()
        try:
            async with redis.asyncio.from_url(valkey.url) as broker:
                publisher.publish(wake_up(2))
                [message] = await queued(broker, queue_name(1), 1)
                assert arguments(message) == [2, 1]
        finally:
            await valkey.stop()


async def test_closing_publishes_what_waits(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    with frozen(valkey):
        for number in range(3 * MAX_BATCH):
            publisher.publish(wake_up(number))
    await asyncio.to_thread(publisher.close, 10)
    assert await broker.llen(queue_name(1)) == 3 * MAX_BATCH


async def test_closing_waits_for_no_broker_that_does_not_answer(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(wake_up(1))
    await queued(broker, queue_name(1), 1)
    with frozen(valkey):
        publisher.publish(wake_up(2))
        async with asyncio.timeout(4):  # it is given 2 s
            await asyncio.to_thread(publisher.close)


# --- addresses --------------------------------------------------------------------------------


@asynccontextmanager
async def behind_tls(folder: Path, port: int) -> AsyncIterator[tuple[int, Path]]:
    """Put TLS before a port; yields the port for it, and the certificate to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / "certificate.pem", folder / "key.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = await asyncio.open_connection("127.0.0.1", port)

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(carry(reader, outside), carry(inside, writer), return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], trusted
    finally:
        server.close()


@asynccontextmanager
async def bare_valkey(folder: Path, port: int) -> AsyncIterator[None]:
    """Run a server with a socket in the file system and a password that no address likes."""
    options = ["--unixsocket", str(folder / "s"), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [find_binary(), "--port", str(port), *options, "--requirepass", PASSWORD],
        stdout=subprocess.DEVNULL,
    )

    async def listens() -> bool:
        return (folder / "s").exists()

    try:
        await until(listens)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["redis", "rediss", "unix"])
async def test_any_address_of_a_broker_leads_to_its_database(tmp_path: Path, kind: str) -> None:
    port = EmbeddedValkey(directory=tmp_path).port
    password = quote(PASSWORD, safe="")
    async with bare_valkey(tmp_path, port), behind_tls(tmp_path, port) as (tls_port, trusted):
        url = {
            "redis": f"redis://:{password}@127.0.0.1:{port}/3",
            "rediss": f"rediss://:{password}@127.0.0.1:{tls_port}/3"
            f"?ssl_cert_reqs=required&ssl_ca_certs={quote(str(trusted), safe='')}",
            "unix": f"unix://:{password}@{tmp_path / 's'}?db=3",
        }[kind]
        publisher = Publisher(url, "")
        publisher.publish(wake_up(5))
        async with redis.asyncio.Redis(port=port, password=PASSWORD, db=3) as broker:
            [message] = await queued(broker, queue_name(1), 1)
        assert arguments(message) == [5, 1]
        await asyncio.to_thread(publisher.close)
