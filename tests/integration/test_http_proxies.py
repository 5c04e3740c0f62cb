"""Requests to S3, SQS and SNS obey HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from api.sns import open_sns
from shared.errors import StoreUnavailable
from shared.store_client import open_storage
from shared.web_proxies import is_own_network, proxy_for
from tests.support.amazon import HOST, pem, running_amazon
from tests.support.dialects import TOPIC
from tests.support.moto_server import CREDENTIALS, REGION, Moto
from tests.support.service import make_settings
from tests.support.sns import notification
from tests.support.stack import Stack
from tests.support.web_proxy import running_web_proxy
from worker.queue.sqs import open_queue

STORE = "store.example.com"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove this machine's proxy variables from the environment."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8333", True),
        ("http://127.9.9.9", True),
        ("http://localhost:9000", True),
        ("http://LOCALHOST.:9000", True),
        ("http://[::1]:9000", True),
        ("http://10.1.2.3:9000", True),
        ("http://seaweedfs:8333/bucket", True),
        ("https://minio.default.svc.cluster.local", True),
        ("https://store.internal", True),
        ("https://bucket.s3.eu-west-1.amazonaws.com", False),
        ("https://store.example.com", False),
        ("https://203.0.114.7", False),
    ],
)
def test_a_store_of_ones_own_network_needs_no_proxy(
    url: str, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "proxy.example:3128")

    assert is_own_network(url) is own
    assert proxy_for(url) == (None if own else "http://proxy.example:3128")


async def test_a_store_elsewhere_is_reached_through_the_proxy(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = urlsplit(stack.seaweedfs.url).port
    assert port is not None
    environment = stack.environment("postgresql://nowhere/none")
    environment["ATTACHMENTS_S3_ENDPOINT_URL"] = f"http://{STORE}"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with running_web_proxy({f"{STORE}:80": port}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with open_storage(make_settings(environment)) as storage:
            await storage.write("by-a-proxy", b"text", content_type="text/plain")
            assert (await storage.head("by-a-proxy")).size == 4
        assert set(proxy.seen) == {f"{STORE}:80"}

        proxy.seen.clear()
        monkeypatch.setenv("NO_PROXY", f"elsewhere.example,.{STORE.partition('.')[2]}")
        async with open_storage(make_settings(environment)) as storage:
            # The request uses no proxy, and fails because the host does not exist.
            with pytest.raises(StoreUnavailable):
                await storage.head("by-a-proxy")
        assert proxy.seen == []


async def test_a_queue_is_polled_through_the_proxy(
    stack: Stack, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = f"sqs.{REGION}.example.com"
    inbox = await moto.make_inbox()
    await inbox.send("one")
    port = urlsplit(moto.url).port
    assert port is not None
    environment = {
        **stack.environment("postgresql://nowhere/none"),
        **CREDENTIALS,
        "ATTACHMENTS_SQS_QUEUE_URL": f"http://{queue}{urlsplit(inbox.url).path}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with running_web_proxy({f"{queue}:80": port}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with open_queue(make_settings(environment), connections=1) as opened:
            [message] = await opened.receive(wait_s=1, hide_s=5)
        assert message.body == b"one"
        assert set(proxy.seen) == {f"{queue}:80"}


async def test_certificates_of_sns_come_through_the_proxy_and_by_our_authorities(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        **stack.environment("postgresql://nowhere/none"),
        "ATTACHMENTS_SNS_TOPICS": TOPIC,
    }
    async with (
        running_amazon() as amazon,
        running_web_proxy({f"{HOST}:443": amazon.port}) as proxy,
    ):
        authority = amazon.authority
        bundle = tmp_path / "authorities.pem"
        bundle.write_bytes(pem(authority.certify(authority.key, "authority", authority=True)))
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        document = amazon.sign(notification("attachments/files/000/000/001/original/a.png"))
        async with open_sns(make_settings(environment), None) as sns:
            await sns.verify(document, now=datetime.now(UTC))
        assert proxy.seen == [f"{HOST}:443"]
        assert len(amazon.seen) == 1
