"""Forged SNS messages are refused, most of them before the API requests a certificate."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from prometheus_client import REGISTRY

from tests.support.amazon import CERTIFICATE_PATH, HOST, Amazon, new_key
from tests.support.dialects import TOPIC
from tests.support.sns import Document, ago, written
from tests.support.sns_site import OTHER_TOPIC, UNKNOWN_TOPIC, Site, StartSite, confirmation

Forge = Callable[[Amazon, Document], Document]
ODD_VERSIONS: list[Any] = ["3", "", "2 ", "٢", "1,2", 2, None, ["2"], {}, True]
ODD_TYPES: list[Any] = ["", "notification", "Alarm", None, 5, ["Notification"], {}]


def altered(name: str, value: Any) -> Forge:
    """Return a forger that changes a member after signing; the value `...` removes the member."""

    def forge(amazon: Amazon, document: Document) -> Document:
        signed = {**amazon.sign(document), name: value}
        return {key: kept for key, kept in signed.items() if kept is not ...}

    return forge


def before_signing(**changes: Any) -> Forge:
    """Return a forger that lets Amazon sign a message with invalid members.

    If a new value is a function, the forger calls it. So a value can depend on the present time.
    """

    def forge(amazon: Amazon, document: Document) -> Document:
        new = {name: value() if callable(value) else value for name, value in changes.items()}
        signed = amazon.sign({**document, **{name: str(value) for name, value in new.items()}})
        return {name: value for name, value in {**signed, **new}.items() if value is not ...}

    return forge


def signed_with(key: Any = None, **how: Any) -> Forge:
    """Return a forger that signs a message with a wrong key or a wrong method."""
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
    "row62-sha1-as-v2": signed_with(digest=SHA1()),  # noqa: S303 - version 1 signs with SHA-1
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
    """Post a forged message.

    Assert that it is answered with 403 and counted, and that no attachment has changed.
    """
    forged = forge(site.amazon, await site.notification())
    before, counted = await site.states(), refusals()
    answer = await site.post(forged)
    assert answer.status == 403, answer.body
    assert answer.document["errors"][0]["title"] == "Access Denied"
    assert await site.states() == before
    assert refusals() == counted + 1


def refusals() -> float:
    """Return how many SNS messages the API has refused."""
    labels = {"dialect": "sns", "effect": "refused"}
    return REGISTRY.get_sample_value("attachments_events_total", labels) or 0


@pytest.mark.parametrize("case", BAD_SIGNATURES)
async def test_a_message_changed_after_signing_is_refused(site: Site, case: str) -> None:
    await refused(site, BAD_SIGNATURES[case])
    assert set(site.amazon.asked) <= {HOST}


@pytest.mark.parametrize("case", NOT_EVEN_FETCHED)
async def test_a_message_with_an_obvious_fault_is_refused_without_a_request(
    site: Site, case: str
) -> None:
    await refused(site, NOT_EVEN_FETCHED[case])
    assert (site.amazon.asked, site.amazon.seen) == ([], [])


@pytest.mark.parametrize("missing", ["Type", "TopicArn", "Message"])
async def test_row62_a_body_without_an_envelope_is_not_from_sns(site: Site, missing: str) -> None:
    signed = site.amazon.sign(await site.notification())
    del signed[missing]
    assert (await site.post(signed)).status == 401
    assert site.amazon.asked == []


async def test_row64_without_topics_there_is_no_sns(start_site: StartSite) -> None:
    site = await start_site(sns_topics="")
    assert (await site.post(site.amazon.sign(await site.notification()))).status == 403
    assert site.amazon.asked == []
