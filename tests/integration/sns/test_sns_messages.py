"""Signed SNS messages are recorded. Raw deliveries, which have no signature, need the
secret path.
"""

import json
from typing import Any

import pytest

from tests.support.amazon import CERTIFICATE_PATH, HOST
from tests.support.dialects import AWS, TOPIC
from tests.support.events import EVENTS, NO_EFFECT, RECORDED, new_row, send
from tests.support.sns import ago, notification
from tests.support.sns_site import TEXT, TOKEN, UNKNOWN_TOPIC, Site, StartSite
from tests.support.stack import BUCKET, EVENTS_TOKEN

UNREADABLE = {"recorded": 0, "no_effect": 0, "ignored": 0, "unreadable": 1}


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


async def test_row65_a_replayed_message_has_no_effect(site: Site) -> None:
    document = site.amazon.sign(await site.notification())
    assert (await site.post(document)).document["meta"] == RECORDED
    before = await site.states()
    for _ in range(5):
        answer = await site.post(document)
        assert (answer.status, answer.document["meta"]) == (200, NO_EFFECT)
    assert await site.states() == before


async def test_a_message_of_almost_an_hour_ago_is_taken(site: Site) -> None:
    # SNS repeats a message for up to an hour, always with its first signature and time.
    document = site.amazon.sign(await site.notification(Timestamp=ago(minutes=58)))
    assert (await site.post(document)).document["meta"] == RECORDED


async def test_a_signed_message_without_content_is_kept(site: Site) -> None:
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


async def test_raw_delivery_has_no_signature_and_needs_the_secret_path(site: Site) -> None:
    row = await new_row(site.service)
    body = json.dumps(AWS.message(AWS.make_event(BUCKET, row.key, etag="e1"))).encode()
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
