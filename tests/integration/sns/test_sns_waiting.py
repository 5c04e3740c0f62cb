"""SNS messages are accepted even if clients or a certificate are slow, or the database is busy."""

import asyncio
import json
from typing import Any

import pytest

from api.events import MAX_SIGNED_BYTES, MAX_STRANGE_BYTES, MAX_STRANGERS, RECORD_WITHIN_S
from shared.database import Database
from shared.intake import record
from tests.support.amazon import Reply
from tests.support.events import RECORDED, send, slow_strangers, status_in_pieces
from tests.support.service import until
from tests.support.sns import notification
from tests.support.sns_site import NO_TOKEN, Site, fresh_certificate, path_of


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

        # Post the message again, as SNS does, until the API has closed the slow connections.
        await until(taken)
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
        await asyncio.sleep(0.5)  # now all `posts` wait for the certificate
        await until(taken)
        assert not [post.result() for post in posts if post.done()]
    finally:
        gate.set()
        await asyncio.gather(*posts)


async def test_the_time_for_a_certificate_counts_against_the_timeout(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []
    run_within = Database.run_within

    async def watch(database: Database, timeout_s: float, function: Any, *rest: Any) -> Any:
        # Other functions, such as the token check, are not measured.
        if function is record:
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
