"""Subscriptions: the service confirms only its own topics, and requests only addresses of SNS."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.support.amazon import HOST, Amazon, Reply, new_key
from tests.support.sns import Document
from tests.support.sns_site import NO_TOKEN, TOKEN, UNKNOWN_TOPIC, Site, confirmation

IGNORED = {"recorded": 0, "no_effect": 0, "ignored": 1, "unreadable": 0}


@pytest.mark.parametrize("headers", [NO_TOKEN, TOKEN], ids=["no-token", "token"])
async def test_a_subscription_to_our_topic_is_confirmed(
    site: Site, headers: dict[str, str]
) -> None:
    document = site.amazon.sign(confirmation())
    for _ in range(2):  # SNS may send the confirmation again
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
    # The message contains a SubscribeURL. A request to this address would create the subscription
    # again, so the API must not send one.
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
async def test_row66_an_unconfirmed_subscription_is_retried_and_no_redirect_is_followed(
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
    """Run a server on the internal network that must get no connection; yield its port and a list
    of connections.
    """
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
    "row66-host-after-at": f"https://{HOST}@127.0.0.1:{{port}}/" + QUERY,
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
