"""Amazon SNS over HTTP: what it signs is taken, every forgery refused, no other host ever asked."""

import asyncio
import base64
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from api.events import MAX_SIGNED_BYTES, MAX_STRANGE_BYTES, MAX_STRANGERS, RECORD_WITHIN_S
from api.sns import KEPT, KEPT_FOR, open_sns
from shared.database import Database
from shared.errors import SnsRefused
from shared.intake import record
from tests.support.amazon import (
    CERTIFICATE_PATH,
    CHINA,
    GOVERNMENT,
    HOST,
    Amazon,
    Reply,
    new_key,
    pem,
    running_amazon,
)
from tests.support.databases import clone_database
from tests.support.dialects import AWS, TOPIC, sample
from tests.support.events import (
    EVENTS,
    NO_EFFECT,
    RECORDED,
    new_row,
    send,
    slow_strangers,
    status_in_pieces,
)
from tests.support.service import Answer, Service, make_settings, running_service, until
from tests.support.sns import Document, ago, notification, written
from tests.support.stack import BUCKET, EVENTS_TOKEN, Stack

OTHER_TOPIC = "arn:aws:sns:eu-west-1:123456789012:uploads-too"
UNKNOWN_TOPIC = "arn:aws:sns:eu-west-1:210987654321:uploads"
NO_TOKEN: dict[str, str] = {}
TOKEN = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
TEXT = {"Content-Type": "text/plain; charset=UTF-8"}
IGNORED = {"recorded": 0, "no_effect": 0, "ignored": 1, "unreadable": 0}
UNREADABLE = {"recorded": 0, "no_effect": 0, "ignored": 0, "unreadable": 1}


@dataclass(frozen=True, kw_only=True)
class Site:
    """An API subscribed to two topics, and Amazon as it sees it."""

    service: Service
    amazon: Amazon

    async def notification(self, **changes: Any) -> Document:
        """Make a message of a new upload, with changes, not signed yet."""
        row = await new_row(self.service)
        return notification(row.key, **changes)

    async def post(self, document: Any, headers: dict[str, str] = NO_TOKEN) -> Answer:
        """Post a message as SNS does."""
        return await send(self.service, json.dumps(document).encode(), {**TEXT, **headers})

    async def states(self) -> list[str]:
        """Read everything that is stored."""
        rows = await self.service.database.fetch(
            "SELECT a::text FROM attachments AS a UNION ALL SELECT d::text FROM dead_letters AS d"
            " ORDER BY 1"
        )
        return [row[0] for row in rows]

    def forget(self) -> None:
        """Begin to note anew what is asked of Amazon."""
        self.amazon.asked.clear()
        self.amazon.seen.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def amazon() -> AsyncIterator[Amazon]:
    """One Amazon for the module: keys take long to make."""
    async with running_amazon() as running:
        yield running


StartSite = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="session")
async def start_site(stack: Stack, amazon: Amazon) -> AsyncIterator[StartSite]:
    """Start APIs that know no certificate yet, with settings of the test's own."""
    async with AsyncExitStack() as exits:

        async def start(**overrides: str) -> Site:
            service = await exits.enter_async_context(
                running_service(
                    stack,
                    await clone_database(stack),
                    amazon.connector(),
                    **{"sns_topics": f"{TOPIC},{OTHER_TOPIC}", **overrides},
                )
            )
            site = Site(service=service, amazon=amazon)
            site.forget()
            return site

        amazon.replies.clear()
        yield start


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_service(stack: Stack, amazon: Amazon) -> AsyncIterator[Service]:
    """One API for all that is refused."""
    async with running_service(
        stack,
        await clone_database(stack),
        amazon.connector(),
        sns_topics=f"{TOPIC},{OTHER_TOPIC}",
        sns_signature_versions="1,2",
    ) as service:
        yield service


@pytest.fixture
def site(shared_service: Service, amazon: Amazon) -> Site:
    """The API that tests share, which may know the usual certificate already."""
    amazon.replies.clear()
    shared = Site(service=shared_service, amazon=amazon)
    shared.forget()
    return shared


def confirmation(kind: str = "subscription", **changes: Any) -> Document:
    """Make a message that a subscription begins or ends, not signed yet."""
    document = {**sample(f"sns-{kind}-confirmation"), "Timestamp": ago(seconds=1), **changes}
    return {name: value for name, value in document.items() if value is not ...}


def fresh_certificate() -> str:
    """Give an address of a certificate that no one has asked for yet."""
    return f"https://{HOST}/SimpleNotificationService-{secrets.token_hex(16)}.pem"


def path_of(url: str) -> str:
    """Give the path of an address at Amazon's."""
    return url.removeprefix(f"https://{HOST}")


# -- what SNS signs ----------------------------------------------------------------------------


async def test_a_signed_notification_is_recorded_without_a_token(start_site: StartSite) -> None:
    site = await start_site()
    document = site.amazon.sign(await site.notification())
    answer = await site.post(document)
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)
    assert site.amazon.seen == [f"https://{HOST}{CERTIFICATE_PATH}"]


@pytest.mark.parametrize("subject", ["", "a subject", "zwei\nZeilen", "日本", ...])
async def test_the_subject_counts_if_there_is_one(site: Site, subject: Any) -> None:
    document = site.amazon.sign(await site.notification(Subject=subject))
    assert (await site.post(document)).document["meta"] == RECORDED


async def test_a_subject_of_null_is_none(site: Site) -> None:
    document = {**site.amazon.sign(await site.notification(Subject=...)), "Subject": None}
    assert (await site.post(document)).document["meta"] == RECORDED


async def test_row62_version_1_is_refused_by_default(start_site: StartSite) -> None:
    site = await start_site()
    document = site.amazon.sign(await site.notification(SignatureVersion="1"))
    before = await site.states()
    assert (await site.post(document)).status == 403
    assert (site.amazon.asked, await site.states()) == ([], before)


async def test_version_1_is_taken_where_it_is_set(site: Site) -> None:
    for version in ("1", "2"):
        document = site.amazon.sign(await site.notification(SignatureVersion=version))
        assert (await site.post(document)).document["meta"] == RECORDED


async def test_version_2_may_be_switched_off(start_site: StartSite) -> None:
    site = await start_site(sns_signature_versions="1")
    for version, status in (("2", 403), ("1", 200)):
        document = site.amazon.sign(await site.notification(SignatureVersion=version))
        assert (await site.post(document)).status == status


async def test_a_certificate_is_fetched_once_for_many_messages(start_site: StartSite) -> None:
    site = await start_site()
    documents = [site.amazon.sign(await site.notification()) for _ in range(12)]
    first = await asyncio.gather(*(site.post(document) for document in documents))
    # 503 where a busy machine left no time to record them: SNS sends them again.
    assert {answer.status for answer in first} <= {200, 503}

    async def all_are_taken() -> bool:
        return {(await site.post(document)).status for document in documents} == {200}

    await until(all_are_taken)
    assert len(site.amazon.seen) == 1


async def test_however_many_certificates_there_are_only_some_are_kept(site: Site) -> None:
    document = await site.notification()
    urls = [fresh_certificate() for _ in range(KEPT + 1)]
    for url in [*urls, urls[-1], urls[0]]:
        signed = site.amazon.sign({**document, "SigningCertURL": url})
        assert (await site.post(signed)).status == 200
    assert site.amazon.seen == [*urls, urls[0]]


async def test_a_certificate_is_kept_for_a_day_and_then_fetched_anew(
    stack: Stack, amazon: Amazon
) -> None:
    url, now = kept_certificate(amazon, valid_days=3), datetime.now(UTC)
    async with own_sns(stack, amazon) as verify:
        await verify(url, now)
        await verify(url, now + KEPT_FOR - timedelta(seconds=1))
        assert amazon.seen == [url]
        await verify(url, now + KEPT_FOR)
        assert amazon.seen == [url] * 2
        await verify(url, now + KEPT_FOR * 2 - timedelta(seconds=1))
        assert amazon.seen == [url] * 2


async def test_row62_a_kept_certificate_proves_nothing_once_it_is_no_longer_valid(
    stack: Stack, amazon: Amazon
) -> None:
    url, now = kept_certificate(amazon, valid_days=0.5), datetime.now(UTC)
    async with own_sns(stack, amazon) as verify:
        await verify(url, now)
        later = now + timedelta(hours=13)
        assert later < now + KEPT_FOR
        with pytest.raises(SnsRefused, match="not valid now"):
            await verify(url, later)
        assert amazon.seen == [url] * 2
        assert kept_certificate(amazon, valid_days=3, url=url) == url  # it has been renewed
        await verify(url, later)


def kept_certificate(amazon: Amazon, *, valid_days: float, url: str | None = None) -> str:
    """Have Amazon serve a certificate that is valid from yesterday on; returns its address."""
    url = url or fresh_certificate()
    certificate = amazon.authority.certify(amazon.signing_key, "sns", days=(-1, valid_days))
    amazon.replies[path_of(url)] = Reply(body=pem(certificate))
    return url


@asynccontextmanager
async def own_sns(
    stack: Stack, amazon: Amazon
) -> AsyncIterator[Callable[[str, datetime], Awaitable[None]]]:
    """Give a way to verify what SNS signed at any time, by certificates of no one else."""
    amazon.seen.clear()
    environment = {**stack.environment("postgresql://nowhere/x"), "ATTACHMENTS_SNS_TOPICS": TOPIC}
    async with open_sns(make_settings(environment), amazon.connector()) as sns:

        async def verify(url: str, now: datetime) -> None:
            document = notification("x", SigningCertURL=url, Timestamp=written(now))
            await sns.verify(amazon.sign(document), now=now)

        yield verify


async def test_row63_a_certificate_of_another_region_than_the_topics_proves_nothing(
    site: Site,
) -> None:
    url = fresh_certificate().replace(HOST, GOVERNMENT)
    document = site.amazon.sign(await site.notification(SigningCertURL=url))
    assert (await site.post(document)).status == 403
    assert site.amazon.asked == []


@pytest.mark.parametrize("host", [CHINA, GOVERNMENT])
async def test_certificates_of_other_partitions_are_sns_too(
    start_site: StartSite, host: str
) -> None:
    topic = f"arn:aws-cn:sns:{host.split('.')[1]}:1:t"
    site = await start_site(sns_topics=topic)
    url = fresh_certificate().replace(HOST, host)
    document = await site.notification(SigningCertURL=url, TopicArn=topic)
    document = site.amazon.sign(document)
    assert (await site.post(document)).document["meta"] == RECORDED
    assert site.amazon.asked == [host]


async def test_row65_a_replayed_message_has_no_effect(site: Site) -> None:
    document = site.amazon.sign(await site.notification())
    assert (await site.post(document)).document["meta"] == RECORDED
    before = await site.states()
    for _ in range(5):
        answer = await site.post(document)
        assert (answer.status, answer.document["meta"]) == (200, NO_EFFECT)
    assert await site.states() == before


async def test_row48_strangers_who_send_slowly_keep_no_message_of_sns_out(site: Site) -> None:
    amazon, service = site.amazon, site.service
    documents = [amazon.sign(await site.notification()) for _ in range(3)]
    documents.append(amazon.sign(await site.notification(Subject="x" * MAX_STRANGE_BYTES)))
    whole, in_pieces, short, long = [json.dumps(document).encode() for document in documents]
    async with slow_strangers(service, MAX_STRANGERS, MAX_SIGNED_BYTES):

        async def held_up() -> bool:
            return await status_in_pieces(service, long, known=False) == 503

        await until(held_up)
        assert (await send(service, whole, NO_TOKEN)).status == 200
        assert await status_in_pieces(service, in_pieces, known=False) == 200

        async def taken() -> bool:
            return await status_in_pieces(service, long, known=False) == 200

        await until(taken)  # for SNS comes again, and by then they have been cut
        async with slow_strangers(service, MAX_STRANGERS, len(short)):
            assert await status_in_pieces(service, short, known=False) == 200


async def test_messages_whose_certificate_takes_long_hold_no_places(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.sns.FETCH_TIMEOUT_S", 60.0)
    url, gate, subject = fresh_certificate(), asyncio.Event(), "x" * MAX_STRANGE_BYTES
    site.amazon.replies[path_of(url)] = Reply(gate=gate)
    slow = site.amazon.sign(notification("x", SigningCertURL=url, Subject=subject))
    body = json.dumps(slow).encode()
    other = json.dumps(site.amazon.sign(await site.notification(Subject=subject))).encode()
    posts = [
        asyncio.create_task(status_in_pieces(site.service, body, known=False))
        for _ in range(MAX_STRANGERS)
    ]
    try:

        async def asked() -> bool:
            return url in site.amazon.seen

        async def taken() -> bool:
            return await status_in_pieces(site.service, other, known=False) == 200

        await until(asked)
        await asyncio.sleep(0.5)  # by now all of them wait for it
        await until(taken)
        assert not [post.result() for post in posts if post.done()]
    finally:
        gate.set()
        await asyncio.gather(*posts)


async def test_what_a_certificate_takes_is_not_left_to_the_database(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []
    run_within = Database.run_within

    async def watch(database: Database, timeout_s: float, function: Any, *rest: Any) -> Any:
        if function is record:  # not what looks after tokens meanwhile
            left.append(timeout_s)
        return await run_within(database, timeout_s, function, *rest)

    monkeypatch.setattr(Database, "run_within", watch)
    url, gate = fresh_certificate(), asyncio.Event()
    site.amazon.replies[path_of(url)] = Reply(body=site.amazon.certificate, gate=gate)
    document = site.amazon.sign(await site.notification(SigningCertURL=url))
    post = asyncio.create_task(site.post(document))

    async def asked() -> bool:
        return url in site.amazon.seen

    await until(asked)
    await asyncio.sleep(0.3)
    gate.set()
    assert (await post).status == 200
    assert 0 < left[0] <= RECORD_WITHIN_S - 0.2


async def test_a_message_of_almost_an_hour_ago_is_taken(site: Site) -> None:
    # SNS tries for up to an hour, and signs only once
    document = site.amazon.sign(await site.notification(Timestamp=ago(minutes=58)))
    assert (await site.post(document)).document["meta"] == RECORDED


async def test_a_signed_message_that_says_nothing_is_kept(site: Site) -> None:
    document = site.amazon.sign(notification("x", Message="the disk is full"))
    answer = await site.post(document)
    assert (answer.status, answer.document["meta"]) == (200, UNREADABLE)
    row = await site.service.database.fetchrow(
        "SELECT source, dialect, body FROM dead_letters ORDER BY id DESC LIMIT 1"
    )
    assert row is not None
    assert tuple(row) == ("sns", "sns", json.dumps(document).encode())


async def test_a_live_token_needs_no_signature(site: Site) -> None:
    document = await site.notification(TopicArn=UNKNOWN_TOPIC, SignatureVersion="9")
    answer = await site.post(document, TOKEN)
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)
    assert site.amazon.asked == []


# -- raw delivery ------------------------------------------------------------------------------


async def test_raw_delivery_has_no_signature_and_needs_the_secret_path(site: Site) -> None:
    row = await new_row(site.service)
    body = json.dumps(AWS.message(AWS.tell(BUCKET, row.key, etag="e1"))).encode()
    raw = {
        **TEXT,
        "x-amz-sns-rawdelivery": "true",
        "x-amz-sns-message-type": "Notification",
        "x-amz-sns-topic-arn": TOPIC,
    }
    for path in (EVENTS, f"{EVENTS}/wrong-token-of-some-length"):
        assert (await send(site.service, body, raw, path)).status == 401
    answer = await send(site.service, body, raw, f"{EVENTS}/{EVENTS_TOKEN}")
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)
    assert site.amazon.asked == []


# -- subscriptions -----------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [NO_TOKEN, TOKEN], ids=["no-token", "token"])
async def test_a_subscription_to_our_topic_is_confirmed(
    site: Site, headers: dict[str, str]
) -> None:
    document = site.amazon.sign(confirmation())
    for _ in range(2):  # SNS may ask again
        site.forget()
        answer = await site.post(document, headers)
        assert (answer.status, answer.document["meta"]) == (200, IGNORED)
        assert document["SubscribeURL"] in site.amazon.seen


@pytest.mark.parametrize("headers", [NO_TOKEN, TOKEN], ids=["no-token", "token"])
@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(
            lambda amazon: amazon.sign(confirmation(TopicArn=UNKNOWN_TOPIC)), id="row64-other-topic"
        ),
        pytest.param(lambda amazon: confirmation(), id="row62-not-signed"),
        pytest.param(
            lambda amazon: {**amazon.sign(confirmation()), "Token": "another"}, id="row62-altered"
        ),
        pytest.param(lambda amazon: amazon.sign(confirmation(), new_key()), id="row62-other-key"),
    ],
)
async def test_no_other_subscription_is_confirmed_even_with_a_token(
    site: Site, headers: dict[str, str], forge: Callable[[Amazon], Document]
) -> None:
    answer = await site.post(forge(site.amazon), headers)
    assert answer.status == 403
    assert [url for url in site.amazon.seen if "Confirm" in url] == []


@pytest.mark.parametrize("headers", [NO_TOKEN, TOKEN], ids=["no-token", "token"])
async def test_the_end_of_a_subscription_is_taken_and_not_undone(
    site: Site, headers: dict[str, str]
) -> None:
    answer = await site.post(site.amazon.sign(confirmation("unsubscribe")), headers)
    assert (answer.status, answer.document["meta"]) == (200, IGNORED)
    # its SubscribeURL would subscribe again
    assert [url for url in site.amazon.seen if "Confirm" in url] == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500),
        Reply(status=403),
        Reply(status=302, headers={"Location": "https://elsewhere.amazonaws.com/"}),
    ],
    ids=["500", "403", "redirect"],
)
async def test_row66_what_is_not_confirmed_is_asked_again_and_no_one_is_followed(
    site: Site, reply: Reply
) -> None:
    site.amazon.replies["/"] = reply
    document = site.amazon.sign(confirmation())
    answer = await site.post(document)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert set(site.amazon.asked) <= {HOST}
    assert [url for url in site.amazon.seen if "elsewhere" in url] == []
    site.amazon.replies.clear()
    assert (await site.post(document)).status == 200


@pytest_asyncio.fixture(loop_scope="session")
async def canary() -> AsyncIterator[tuple[int, list[str]]]:
    """A server inside our network at which nobody should call, and who did."""
    called: list[str] = []

    async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.append("called")
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], called
    server.close()


QUERY = "?Action=ConfirmSubscription&Token=x"
INTERNAL = {
    "row66-loopback": "https://127.0.0.1:{port}/" + QUERY,
    "row66-loopback-http": "http://127.0.0.1:{port}/" + QUERY,
    "row66-localhost": "http://localhost:{port}/" + QUERY,
    "row66-metadata": "http://169.254.169.254/latest/meta-data/",
    "row66-file": "file:///etc/passwd",
    "row66-other-host": "https://example.com/" + QUERY,
    "row66-other-service": "https://s3.eu-west-1.amazonaws.com/" + QUERY,
    "row66-host-behind-at": f"https://{HOST}@127.0.0.1:{{port}}/" + QUERY,
    "row66-port": f"https://{HOST}:8443/" + QUERY,
    "row66-http": f"http://{HOST}/" + QUERY,
    "row66-suffix": f"https://{HOST}.evil.example/" + QUERY,
    "row66-prefix": f"https://evil.{HOST}/" + QUERY,
    "row66-backslash": f"https://127.0.0.1\\@{HOST}/" + QUERY,
    "row66-fragment": f"https://{HOST}/" + QUERY + "#@127.0.0.1",
    "row66-path": f"https://{HOST}/elsewhere" + QUERY,
    "row66-line-break": f"https://{HOST}/" + QUERY + "\r\nHost: evil",
    "row66-space": f"https://{HOST}/" + QUERY + " x",
    "row66-empty": "",
}


@pytest.mark.parametrize("case", INTERNAL)
async def test_no_subscribe_url_but_snss_own_is_ever_asked(
    site: Site, canary: tuple[int, list[str]], case: str
) -> None:
    port, called = canary
    url = INTERNAL[case].format(port=port)
    document = site.amazon.sign(confirmation(SubscribeURL=url))
    for headers in (NO_TOKEN, TOKEN):
        assert (await site.post(document, headers)).status == 403
    assert called == []
    assert set(site.amazon.asked) <= {HOST}
    assert [seen for seen in site.amazon.seen if "SimpleNotificationService-" not in seen] == []


# -- forgeries ---------------------------------------------------------------------------------

Forge = Callable[[Amazon, Document], Document]
ODD_VERSIONS: list[Any] = ["3", "", "2 ", "٢", "1,2", 2, None, ["2"], {}, True]
ODD_TYPES: list[Any] = ["", "notification", "Alarm", None, 5, ["Notification"], {}]


def altered(name: str, value: Any) -> Forge:
    """Alter a message after it was signed; ... takes the member out."""

    def forge(amazon: Amazon, document: Document) -> Document:
        signed = {**amazon.sign(document), name: value}
        return {key: kept for key, kept in signed.items() if kept is not ...}

    return forge


def before_signing(**changes: Any) -> Forge:
    """Have Amazon itself sign a message that is not as it should be.

    What is a function is called then: a time of it is that of the test.
    """

    def forge(amazon: Amazon, document: Document) -> Document:
        new = {name: value() if callable(value) else value for name, value in changes.items()}
        signed = amazon.sign({**document, **{name: str(value) for name, value in new.items()}})
        return {name: value for name, value in {**signed, **new}.items() if value is not ...}

    return forge


def signed_with(key: Any = None, **how: Any) -> Forge:
    """Sign in another way than the version says."""
    version = how.pop("version", "2")
    return lambda amazon, document: amazon.sign(
        {**document, "SignatureVersion": version}, key and key(), **how
    )


PSS = padding.PSS(padding.MGF1(SHA256()), padding.PSS.MAX_LENGTH)

BAD_SIGNATURES: dict[str, Forge] = {
    "row62-random": altered("Signature", base64.b64encode(bytes(256)).decode()),
    "row62-short": altered("Signature", base64.b64encode(b"x").decode()),
    "row62-empty": altered("Signature", ""),
    "row62-missing": altered("Signature", ...),
    "row62-null": altered("Signature", None),
    "row62-number": altered("Signature", 5),
    "row62-list": altered("Signature", ["x"]),
    "row62-no-base64": altered("Signature", "%%%"),
    "row62-non-ascii": altered("Signature", "ä" * 16),
    "row62-other-key": signed_with(new_key),
    "row62-sha1-as-v2": signed_with(digest=SHA1()),  # noqa: S303 - that of version 1
    "row62-sha256-as-v1": signed_with(version="1", digest=SHA256()),
    "row62-pss": signed_with(scheme=PSS),
    "row62-v1-called-v2": lambda amazon, document: {
        **amazon.sign({**document, "SignatureVersion": "1"}),
        "SignatureVersion": "2",
    },
    "row62-altered-message": altered("Message", "{}"),
    "row62-message-no-text": altered("Message", {}),
    "row62-altered-id": altered("MessageId", "another"),
    "row62-no-id": altered("MessageId", ...),
    "row62-altered-time": altered("Timestamp", ago(minutes=5)),
    "row62-altered-topic": altered("TopicArn", OTHER_TOPIC),
    "row62-altered-subject": altered("Subject", "another"),
    "row62-no-subject": altered("Subject", ...),
    "row62-type-made-a-confirmation": lambda amazon, document: {
        **confirmation(),
        **amazon.sign(document),
        "Type": "SubscriptionConfirmation",
    },
    "row62-type-made-a-farewell": lambda amazon, document: {
        **confirmation(),
        **amazon.sign(document),
        "Type": "UnsubscribeConfirmation",
    },
}

NOT_EVEN_FETCHED: dict[str, Forge] = {
    **{
        f"row62-version-{version!r}": before_signing(SignatureVersion=version)
        for version in ODD_VERSIONS
    },
    "row62-no-version": altered("SignatureVersion", ...),
    **{f"row62-type-{kind!r}": altered("Type", kind) for kind in ODD_TYPES},
    **{
        f"row64-topic-{name}": before_signing(TopicArn=topic)
        for name, topic in {
            "of-another-account": UNKNOWN_TOPIC,
            "prefix": TOPIC[:-1],
            "longer": f"{TOPIC}x",
            "upper-case": TOPIC.upper(),
            "line-break": f"{TOPIC}\n",
            "space": f" {TOPIC}",
            "two": f"{TOPIC},{OTHER_TOPIC}",
            "empty": "",
            "wildcard": "*",
            "null": None,
            "list": [TOPIC],
            "object": {"arn": TOPIC},
            "nul": f"{TOPIC}\0",
        }.items()
    },
    **{
        f"row65-{name}": before_signing(Timestamp=when)
        for name, when in {
            "an-hour-ago": ago(minutes=61),
            "a-year-ago": ago(days=365),
            "in-an-hour": ago(hours=-1),
            "in-two-minutes": lambda: ago(minutes=-2),
            "offset-makes-it-old": written(datetime.now(UTC)).replace("Z", "+02:00"),
            "empty": "",
            "words": "now",
            "number": 5,
            "null": None,
            "list": [],
            "missing": ...,
            "first-year": "0001-01-01T00:00:00+23:59",
            "last-year": "9999-12-31T23:59:59-23:59",
            "no-such-day": "2026-02-30T00:00:00Z",
            "seconds": "1795458846",
            "nul": "\0",
        }.items()
    },
    **{
        f"row63-{name}": before_signing(SigningCertURL=url)
        for name, url in {
            "other-host": "https://evil.amazonaws.com.x" + CERTIFICATE_PATH,
            "suffix": f"https://{HOST}.evil" + CERTIFICATE_PATH,
            "prefix": f"https://evil.{HOST}" + CERTIFICATE_PATH,
            "glued": f"https://evil{HOST}" + CERTIFICATE_PATH,
            "no-region": "https://sns.amazonaws.com" + CERTIFICATE_PATH,
            "region-of-dots": "https://sns.x.amazonaws.com" + CERTIFICATE_PATH,
            "region-x-evil": "https://sns.x.amazonaws.com.evil" + CERTIFICATE_PATH,
            "region-with-a-host": "https://sns.evil.com/.amazonaws.com" + CERTIFICATE_PATH,
            "bucket": "https://sns.eu-west-1.s3.amazonaws.com" + CERTIFICATE_PATH,
            "other-service": "https://s3.eu-west-1.amazonaws.com/sns" + CERTIFICATE_PATH,
            "cn-of-other": f"https://{HOST}.cn.evil" + CERTIFICATE_PATH,
            "http": f"http://{HOST}" + CERTIFICATE_PATH,
            "no-scheme": f"//{HOST}" + CERTIFICATE_PATH,
            "ftp": f"ftp://{HOST}" + CERTIFICATE_PATH,
            "file": "file:///etc/ssl/SimpleNotificationService-1.pem",
            "data": "data:,SimpleNotificationService-1.pem",
            "upper-case-scheme": f"HTTPS://{HOST}" + CERTIFICATE_PATH,
            "upper-case-host": f"https://{HOST.upper()}" + CERTIFICATE_PATH,
            "upper-case-path": f"https://{HOST}" + CERTIFICATE_PATH.upper(),
            "user": f"https://user@{HOST}" + CERTIFICATE_PATH,
            "at": f"https://{HOST}@evil.example" + CERTIFICATE_PATH,
            "password": f"https://{HOST}:x@evil.example" + CERTIFICATE_PATH,
            "port": f"https://{HOST}:443" + CERTIFICATE_PATH,
            "empty-port": f"https://{HOST}:" + CERTIFICATE_PATH,
            "trailing-dot": f"https://{HOST}." + CERTIFICATE_PATH,
            "backslash": f"https://evil.example\\@{HOST}" + CERTIFICATE_PATH,
            "backslash-path": f"https://{HOST}\\SimpleNotificationService-1.pem",
            "three-slashes": f"https:///{HOST}" + CERTIFICATE_PATH,
            "dots": f"https://{HOST}/x/.." + CERTIFICATE_PATH,
            "dots-within": f"https://{HOST}/SimpleNotificationService-../x.pem",
            "encoded-dots": f"https://{HOST}/SimpleNotificationService-%2e%2e%2fx.pem",
            "folder": f"https://{HOST}/x" + CERTIFICATE_PATH,
            "other-path": f"https://{HOST}/x.pem",
            "no-path": f"https://{HOST}",
            "no-extension": f"https://{HOST}/SimpleNotificationService-1",
            "query": f"https://{HOST}{CERTIFICATE_PATH}?x",
            "query-before": f"https://{HOST}/?x={CERTIFICATE_PATH}",
            "fragment": f"https://{HOST}{CERTIFICATE_PATH}#x",
            "fragment-host": f"https://evil.example#{HOST}" + CERTIFICATE_PATH,
            "query-host": f"https://evil.example?{HOST}" + CERTIFICATE_PATH,
            "line-break": f"https://{HOST}{CERTIFICATE_PATH}\n",
            "line-break-before": f"\nhttps://{HOST}{CERTIFICATE_PATH}",
            "header": f"https://{HOST}{CERTIFICATE_PATH}\r\nX: y",
            "tab-within": f"https://{HOST[:5]}\t{HOST[5:]}{CERTIFICATE_PATH}",
            "nul": f"https://{HOST}\0.evil{CERTIFICATE_PATH}",
            "space": f" https://{HOST}{CERTIFICATE_PATH}",
            "cyrillic-s": f"https://ѕns.eu-west-1.amazonaws.com{CERTIFICATE_PATH}",
            "fullwidth-dot": f"https://sns.eu-west-1．amazonaws.com{CERTIFICATE_PATH}",
            "ideographic-stop": f"https://sns.eu-west-1。amazonaws.com{CERTIFICATE_PATH}",
            "fullwidth-slash": f"https://{HOST}／x.evil{CERTIFICATE_PATH}",
            "arabic-digit": f"https://sns.eu-west-١.amazonaws.com{CERTIFICATE_PATH}",
            "long-s": f"https://ſns.eu-west-1.amazonaws.com{CERTIFICATE_PATH}",
            "soft-hyphen": f"https://sns.eu-west-1.amazon\u00adaws.com{CERTIFICATE_PATH}",
            "loopback": "https://127.0.0.1" + CERTIFICATE_PATH,
            "metadata": "http://169.254.169.254" + CERTIFICATE_PATH,
            "empty": "",
            "number": 5,
            "null": None,
            "list": [],
            "missing": ...,
            "very-long": f"https://{HOST}/SimpleNotificationService-{'a' * 100_000}.pem",
        }.items()
    },
}


async def refused(site: Site, forge: Forge) -> None:
    """Post a forgery; it is answered 403 and changes nothing."""
    forged = forge(site.amazon, await site.notification())
    before = await site.states()
    answer = await site.post(forged)
    assert answer.status == 403, answer.body
    assert answer.document["errors"][0]["title"] == "Access Denied"
    assert await site.states() == before


@pytest.mark.parametrize("case", BAD_SIGNATURES)
async def test_what_is_not_as_it_was_signed_is_refused(site: Site, case: str) -> None:
    await refused(site, BAD_SIGNATURES[case])
    assert set(site.amazon.asked) <= {HOST}


@pytest.mark.parametrize("case", NOT_EVEN_FETCHED)
async def test_what_can_be_told_before_is_refused_and_nothing_is_asked(
    site: Site, case: str
) -> None:
    await refused(site, NOT_EVEN_FETCHED[case])
    assert (site.amazon.asked, site.amazon.seen) == ([], [])


@pytest.mark.parametrize("missing", ["Type", "TopicArn", "Message"])
async def test_row62_what_is_no_envelope_is_no_message_of_sns(site: Site, missing: str) -> None:
    signed = site.amazon.sign(await site.notification())
    del signed[missing]
    assert (await site.post(signed)).status == 401
    assert site.amazon.asked == []


async def test_row64_without_topics_there_is_no_sns(start_site: StartSite) -> None:
    site = await start_site(sns_topics="")
    assert (await site.post(site.amazon.sign(await site.notification()))).status == 403
    assert site.amazon.asked == []


# -- certificates ------------------------------------------------------------------------------


def wrong_certificates(amazon: Amazon) -> dict[str, Reply]:
    """List what the server may give that proves nothing."""
    key = amazon.signing_key
    certify = amazon.authority.certify
    good = amazon.certificate
    der = certify(key, "sns").public_bytes(Encoding.DER)
    return {
        "row62-expired": Reply(body=pem(certify(key, "sns", days=(-3, -1)))),
        "row62-not-yet": Reply(body=pem(certify(key, "sns", days=(1, 3)))),
        "row62-of-another-key": Reply(body=pem(certify(new_key(), "sns"))),
        "row62-elliptic": Reply(body=pem(certify(ec.generate_private_key(ec.SECP256R1()), "sns"))),
        "row62-garbage": Reply(body=b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"),
        "row62-damaged": Reply(body=good.replace(b"MII", b"MIJ")),
        "row62-cut": Reply(body=good[: len(good) // 2]),
        "row62-empty": Reply(),
        "row62-html": Reply(body=b"<html>"),
        "row62-der": Reply(body=der),
        "row62-too-large": Reply(body=good + b"#" * 100_000),
        "row62-404": Reply(body=good, status=404),
        "row62-403": Reply(body=good, status=403),
        "row62-204": Reply(status=204),
        "row63-redirect": Reply(
            body=good, status=302, headers={"Location": f"https://{CHINA}{CERTIFICATE_PATH}"}
        ),
        "row63-moved": Reply(
            body=good, status=301, headers={"Location": f"https://{HOST}{CERTIFICATE_PATH}"}
        ),
    }


CERTIFICATES = [
    "row62-expired",
    "row62-not-yet",
    "row62-of-another-key",
    "row62-elliptic",
    "row62-garbage",
    "row62-damaged",
    "row62-cut",
    "row62-empty",
    "row62-html",
    "row62-der",
    "row62-too-large",
    "row62-404",
    "row62-403",
    "row62-204",
    "row63-redirect",
    "row63-moved",
]


def test_every_wrong_certificate_is_tried(amazon: Amazon) -> None:
    assert list(wrong_certificates(amazon)) == CERTIFICATES


@pytest.mark.parametrize("case", CERTIFICATES)
async def test_a_certificate_that_proves_nothing_is_refused(site: Site, case: str) -> None:
    url = fresh_certificate()
    site.amazon.replies[path_of(url)] = wrong_certificates(site.amazon)[case]
    document = site.amazon.sign(await site.notification(SigningCertURL=url))
    before = await site.states()
    assert (await site.post(document)).status == 403
    assert await site.states() == before
    assert (site.amazon.asked, site.amazon.seen) == ([HOST], [url])


@pytest.mark.parametrize("case", ["row62-garbage", "row62-expired", "row62-404", "row63-redirect"])
async def test_nothing_wrong_is_remembered_of_a_certificate(site: Site, case: str) -> None:
    url = fresh_certificate()
    site.amazon.replies[path_of(url)] = wrong_certificates(site.amazon)[case]
    document = site.amazon.sign(await site.notification(SigningCertURL=url))
    assert (await site.post(document)).status == 403
    site.amazon.replies.clear()
    assert (await site.post(document)).document["meta"] == RECORDED


@pytest.mark.parametrize(
    "status", [500, 502, 503, 429, 408], ids=lambda status: f"answers-{status}"
)
async def test_while_sns_is_out_of_order_the_message_is_asked_for_again(
    site: Site, status: int
) -> None:
    url = fresh_certificate()
    site.amazon.replies[path_of(url)] = Reply(status=status)
    document = site.amazon.sign(await site.notification(SigningCertURL=url))
    await comes_again(site, document)
    site.amazon.replies.clear()
    assert (await site.post(document)).document["meta"] == RECORDED


async def comes_again(site: Site, document: Document) -> None:
    """Post a message that cannot be verified now; it changes nothing."""
    before = await site.states()
    answer = await site.post(document)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert await site.states() == before


async def test_while_sns_is_down_the_message_is_asked_for_again(site: Site) -> None:
    document = site.amazon.sign(await site.notification(SigningCertURL=fresh_certificate()))
    port = site.amazon.port
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        site.amazon.port = free.getsockname()[1]
    try:
        await comes_again(site, document)
    finally:
        site.amazon.port = port
    assert (await site.post(document)).document["meta"] == RECORDED


async def test_a_server_of_another_authority_is_not_sns(site: Site) -> None:
    document = site.amazon.sign(await site.notification(SigningCertURL=fresh_certificate()))
    async with running_amazon() as impostor:
        impostor.certificate = site.amazon.certificate
        port, site.amazon.port = site.amazon.port, impostor.port
        try:
            await comes_again(site, document)
        finally:
            site.amazon.port = port
        assert impostor.seen == []
    assert (await site.post(document)).document["meta"] == RECORDED


async def test_while_sns_is_slow_others_messages_do_not_wait(site: Site) -> None:
    gate = asyncio.Event()
    url = fresh_certificate()
    site.amazon.replies[path_of(url)] = Reply(body=site.amazon.certificate, gate=gate)
    slow = site.amazon.sign(await site.notification(SigningCertURL=url))
    known = site.amazon.sign(await site.notification())
    await site.post(known)
    waiting = asyncio.create_task(site.post(slow))

    async def asked() -> bool:
        return url in site.amazon.seen

    await until(asked)
    assert (await site.post(known)).status == 200
    assert not waiting.done()
    answer = await waiting
    assert answer.status == 503
    gate.set()
    assert (await site.post(slow)).document["meta"] == RECORDED


async def test_many_forged_addresses_ask_for_one_certificate_at_a_time(site: Site) -> None:
    gate = asyncio.Event()
    documents = []
    for _ in range(20):
        url = fresh_certificate()
        site.amazon.replies[path_of(url)] = Reply(gate=gate)
        documents.append(site.amazon.sign(notification("x", SigningCertURL=url)))
    answers = await asyncio.gather(*(site.post(document) for document in documents))
    gate.set()
    assert {answer.status for answer in answers} == {503}
    assert len(site.amazon.seen) < 5
