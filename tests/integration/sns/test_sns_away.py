"""SNS is unreachable or not trusted: its messages are answered with 503, so SNS sends
them again.
"""

import socket

import pytest

from tests.support.amazon import Reply, running_amazon
from tests.support.events import RECORDED
from tests.support.sns import Document
from tests.support.sns_site import Site, fresh_certificate, path_of


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
    """Post a message that the API cannot verify at this time.

    Assert that the answer is 503, after which SNS sends the message again, and that no attachment
    has changed.
    """
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
