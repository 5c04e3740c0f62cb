"""Certificates of SNS: requested once, cached for a day, refused if they are invalid."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from api.sns import KEPT, KEPT_FOR, open_sns
from shared.errors import SnsRefused
from tests.support.amazon import (
    CERTIFICATE_PATH,
    CHINA,
    GOVERNMENT,
    HOST,
    Amazon,
    Reply,
    new_key,
    pem,
)
from tests.support.dialects import TOPIC
from tests.support.events import RECORDED
from tests.support.service import make_settings, until
from tests.support.sns import notification, written
from tests.support.sns_site import Site, StartSite, fresh_certificate, path_of
from tests.support.stack import Stack


async def test_a_certificate_is_fetched_once_for_many_messages(start_site: StartSite) -> None:
    site = await start_site()
    documents = [site.amazon.sign(await site.notification()) for _ in range(12)]
    first = await asyncio.gather(*(site.post(document) for document in documents))
    # On a busy machine, the API may answer 503 because it had no time to record a message. SNS
    # would send this message again.
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


async def test_a_certificate_is_kept_for_a_day_and_then_fetched_again(
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
        # Amazon has renewed the certificate at the same address.
        assert kept_certificate(amazon, valid_days=3, url=url) == url
        await verify(url, later)


def kept_certificate(amazon: Amazon, *, valid_days: float, url: str | None = None) -> str:
    """Make `amazon` serve a certificate, and return the certificate's address.

    The certificate is valid from yesterday until `valid_days` days from now.
    """
    url = url or fresh_certificate()
    certificate = amazon.authority.certify(amazon.signing_key, "sns", days=(-1, valid_days))
    amazon.replies[path_of(url)] = Reply(body=pem(certificate))
    return url


@asynccontextmanager
async def own_sns(
    stack: Stack, amazon: Amazon
) -> AsyncIterator[Callable[[str, datetime], Awaitable[None]]]:
    """Yield a function that verifies an SNS message at a time that the caller chooses.

    The cache of certificates is empty at first.
    """
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


def wrong_certificates(amazon: Amazon) -> dict[str, Reply]:
    """Return wrong answers to a request for a certificate, by name.

    With these answers, no message can be verified.
    """
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
