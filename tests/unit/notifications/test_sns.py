"""Messages of SNS: the address of their certificate, and the text that their signature covers.

These tests need no certificate.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from shared.errors import SnsRefused
from shared.notifications import sns
from tests.support.dialects import TOPIC, changed, sample

NOW = datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)
URL_OF_SAMPLE = sample("sns-v2")["SigningCertURL"]

thorough = settings(max_examples=500, deadline=None, derandomize=True, database=None)


def certificate_url(now: datetime = NOW, **changes: Any) -> str:
    """Return the certificate address that the service reads from the sample message.

    Keyword arguments replace members of the message.
    """
    return sns.certificate_url(
        {**sample("sns-v2"), **changes}, topics=(TOPIC,), versions=("2",), now=now
    )


def is_snss(url: str) -> bool:
    """Return True if a URL has the scheme and the host of SNS, without a port or a user.

    The URL parsers of the service and of the HTTP client must both return these parts.
    """
    for host, scheme, port, user in (
        (URL(url).host, URL(url).scheme, URL(url).explicit_port, URL(url).user),
        (
            urlsplit(url).hostname,
            urlsplit(url).scheme,
            urlsplit(url).port,
            urlsplit(url).username,
        ),
    ):
        labels = (host or "").removesuffix(".cn").split(".")
        assert (labels[0], labels[2:]) == ("sns", ["amazonaws", "com"])
        assert (scheme, port, user) == ("https", None, None)
    return True


def test_the_sample_is_where_sns_keeps_its_certificates() -> None:
    assert certificate_url() == URL_OF_SAMPLE
    assert is_snss(URL_OF_SAMPLE)


@thorough
@given(
    start=st.integers(0, len(URL_OF_SAMPLE)),
    length=st.integers(0, 30),
    noise=st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["@", ":443", "/..", "\\", "#", "?", "%2f", ".evil", "。", "\t", "\n", "//"]),
)
@example(start=len("https://"), length=0, noise="evil.example/")
@example(start=len("https://sns.eu-west-1.amazonaws.com"), length=0, noise=".evil.example")
def test_row63_no_change_to_an_address_leads_elsewhere(start: int, length: int, noise: str) -> None:
    url = URL_OF_SAMPLE[:start] + noise + URL_OF_SAMPLE[start + length :]
    try:
        accepted = certificate_url(SigningCertURL=url)
    except SnsRefused:
        return
    assert accepted == url
    assert is_snss(url)
    assert URL(url).path.startswith("/SimpleNotificationService-")
    assert URL(url).path.count("/") == 1


SUBSCRIBE = sample("sns-subscription-confirmation")["SubscribeURL"]


@thorough
@given(
    start=st.integers(0, len(SUBSCRIBE)),
    length=st.integers(0, 30),
    noise=st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["@", ":443", "/..", "\\", "#", "?", "%2f", ".evil", "。", "\t", "\n", "//"]),
)
def test_row66_no_change_to_an_address_confirms_elsewhere(
    start: int, length: int, noise: str
) -> None:
    url = SUBSCRIBE[:start] + noise + SUBSCRIBE[start + length :]
    try:
        accepted = sns.subscribe_url({"SubscribeURL": url})
    except SnsRefused:
        return
    assert accepted == url
    assert is_snss(url)
    assert URL(url).path == "/"


@pytest.mark.parametrize(
    ("ago", "taken"),
    [
        (timedelta(), True),
        (timedelta(minutes=59, seconds=59), True),
        (timedelta(hours=1), True),
        (timedelta(hours=1, seconds=1), False),
        (timedelta(days=365), False),
        (timedelta(seconds=-60), True),  # the service's clock may be up to 60 s slow
        (timedelta(seconds=-61), False),
        (timedelta(days=-365), False),
    ],
)
def test_row65_a_message_is_of_the_last_hour(ago: timedelta, taken: bool) -> None:
    written = datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)
    if taken:
        assert certificate_url(written + ago)
    else:
        with pytest.raises(SnsRefused, match="older than an hour, or from the future"):
            certificate_url(written + ago)


@pytest.mark.parametrize("when", ["2026-11-23T10:00:01+00:00", "2026-11-23T10:00:01"])
def test_a_time_without_an_offset_is_utc(when: str) -> None:
    assert certificate_url(Timestamp=when)


def test_row64_the_topic_is_looked_at_before_all_else() -> None:
    with pytest.raises(SnsRefused, match="the topic"):
        sns.certificate_url({}, topics=(TOPIC,), versions=("2",), now=NOW)


SIGNED = {
    # The member names and line breaks are those in the Amazon SNS Developer Guide.
    "sns-v2": (
        "Message\nm\nMessageId\ni\nSubject\ns\nTimestamp\nt\nTopicArn\na\nType\nNotification\n"
    ),
    "sns-subscription-confirmation": (
        "Message\nm\nMessageId\ni\nSubscribeURL\nu\nTimestamp\nt\nToken\nk\nTopicArn\na\n"
        "Type\nSubscriptionConfirmation\n"
    ),
    "sns-unsubscribe-confirmation": (
        "Message\nm\nMessageId\ni\nSubscribeURL\nu\nTimestamp\nt\nToken\nk\nTopicArn\na\n"
        "Type\nUnsubscribeConfirmation\n"
    ),
}
SHORT = {
    "Message": "m",
    "MessageId": "i",
    "Subject": "s",
    "Timestamp": "t",
    "TopicArn": "a",
    "SubscribeURL": "u",
    "Token": "k",
}


@pytest.mark.parametrize("name", SIGNED)
def test_the_signed_text_is_each_name_and_its_value(name: str) -> None:
    document = sample(name)
    document.update({member: SHORT[member] for member in SHORT if member in document})
    assert sns.signed_text(document) == SIGNED[name].encode()


def test_a_notification_without_subject_is_signed_without() -> None:
    document = {**SHORT, "Type": "Notification"}
    del document["Subject"]
    assert b"Subject" not in sns.signed_text(document)
    assert sns.signed_text({**document, "Subject": None}) == sns.signed_text(document)
    assert sns.signed_text({**document, "Subject": ""}) != sns.signed_text(document)


@pytest.mark.parametrize("name", ["Message", "MessageId", "Timestamp", "TopicArn"])
@pytest.mark.parametrize("value", [None, 5, [], {}, ...])
def test_row62_only_text_is_signed(name: str, value: Any) -> None:
    with pytest.raises(SnsRefused, match=f"{name} is not a string"):
        sns.signed_text(changed(sample("sns-v2"), name, value))


def test_half_a_character_is_no_reason_to_fail() -> None:
    assert sns.signed_text({**sample("sns-v2"), "Subject": "\ud800"})
