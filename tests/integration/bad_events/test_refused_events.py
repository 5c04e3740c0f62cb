"""Events without a valid token, or with a body that is too large, are refused."""

import base64
import gzip
import json
import secrets
from collections.abc import Mapping

import pytest

from shared.keys import original_key
from tests.support.bad_events import every
from tests.support.dialects import Dialect
from tests.support.events import EVENTS, NO_EFFECT, Target, basic, message, record, send
from tests.support.stack import BUCKET, EVENTS_TOKEN

MIB = 1024 * 1024

CREDENTIALS: dict[str, tuple[Mapping[str, str], str]] = {
    "row48-none": ({}, EVENTS),
    "row48-wrong": ({"Authorization": "Bearer wrong-token-of-some-length"}, EVENTS),
    "row48-empty": ({"Authorization": "Bearer "}, EVENTS),
    "row48-prefix": ({"Authorization": f"Bearer {EVENTS_TOKEN[:-1]}"}, EVENTS),
    "row48-longer": ({"Authorization": f"Bearer {EVENTS_TOKEN}x"}, EVENTS),
    "row48-upper-case": ({"Authorization": f"Bearer {EVENTS_TOKEN.upper()}"}, EVENTS),
    "row48-other-scheme": ({"Authorization": f"Token {EVENTS_TOKEN}"}, EVENTS),
    "row48-bearer-twice": ({"Authorization": f"Bearer Bearer {EVENTS_TOKEN}"}, EVENTS),
    "row48-non-ascii": ({"Authorization": "Bearer tøken"}, EVENTS),
    "row48-basic-user-is-token": ({"Authorization": basic(EVENTS_TOKEN, "")}, EVENTS),
    "row48-basic-no-base64": ({"Authorization": "Basic %%%"}, EVENTS),
    "row48-basic-no-utf-8": (
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        EVENTS,
    ),
    "row48-basic-empty": ({"Authorization": "Basic "}, EVENTS),
    "row48-api-key-wrong": ({"X-Api-Key": "wrong"}, EVENTS),
    "row48-client-token-header": ({"X-Auth-Token": EVENTS_TOKEN}, EVENTS),
    "row48-path-wrong": ({}, f"{EVENTS}/wrong"),
    "row48-path-prefix": ({}, f"{EVENTS}/{EVENTS_TOKEN[:-1]}"),
    "row48-path-nul": ({}, f"{EVENTS}/{EVENTS_TOKEN}%00"),
    "row48-path-no-utf-8": ({}, f"{EVENTS}/%ff"),
    "row48-query": ({}, f"{EVENTS}?token={EVENTS_TOKEN}"),
}

# aiohttp's client warns that a large body should be sent from a file.
large = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@large
@pytest.mark.parametrize(("headers", "path"), CREDENTIALS.values(), ids=CREDENTIALS)
async def test_without_a_live_token_nothing_is_read(
    untouched: Target, headers: Mapping[str, str], path: str
) -> None:
    body = message(record(untouched.key, eTag="e1"))
    for sent in (body, b"no json", b" " * (MIB + 1)):
        answer = await send(untouched.service, sent, headers, path)
        assert answer.status == 401
        assert answer.document == {
            "errors": [
                {
                    "status": "401",
                    "title": "Unauthenticated",
                    "detail": "You are not authenticated",
                }
            ]
        }


async def test_row48_a_callers_token_opens_no_intake(untouched: Target) -> None:
    body = message(record(untouched.key, eTag="e1"))
    headers = {"Authorization": f"Bearer {untouched.service.client.token}"}
    assert (await send(untouched.service, body, headers)).status == 401


async def test_row48_every_token_is_compared_in_constant_time(
    untouched: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = secrets.compare_digest

    def watch(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(secrets, "compare_digest", watch)
    counts = []
    for token in ("x", EVENTS_TOKEN[:-1] + "x", EVENTS_TOKEN):
        compared.clear()
        headers = {"Authorization": f"Bearer {token}"}
        await send(untouched.service, b'{"Records":[]}', headers)
        counts.append(len(compared))
        # The API compares digests, not tokens. All digests have the same length, so the time of a
        # comparison does not show a token's length.
        assert {len(digest) for pair in compared for digest in pair} == {32}
    assert len(set(counts)) == 1


@every(48)
async def test_no_dialect_is_taken_without_a_live_token(
    untouched: Target, dialect: Dialect
) -> None:
    body = json.dumps(
        dialect.message(dialect.make_event(BUCKET, untouched.key, etag="e1"))
    ).encode()
    # A message in the format of SNS must have a valid signature. This message has no signature.
    expected = 403 if dialect.name == "sns" else 401
    for headers in ({}, {"Authorization": "Bearer wrong-token-of-some-length"}):
        assert (await send(untouched.service, body, headers)).status == expected


@large
@every(49)
async def test_a_body_above_1_mib_is_refused(untouched: Target, dialect: Dialect) -> None:
    reported = dialect.make_event(BUCKET, untouched.key, etag="e1")
    body = json.dumps(dialect.message(reported)).encode().ljust(MIB + 1)
    answer = await send(untouched.service, body)
    assert answer.status == 413
    assert answer.document["errors"][0]["title"] == "Payload Too Large"


@every(49)
async def test_a_body_of_1_mib_is_read(untouched: Target, dialect: Dialect) -> None:
    reported = dialect.make_event(BUCKET, original_key(1, "a.png"), etag="e1")
    body = json.dumps(dialect.message(reported)).encode().ljust(MIB)
    answer = await send(untouched.service, body)
    assert (answer.status, answer.document["meta"]) == (200, NO_EFFECT)


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {EVENTS_TOKEN}"}, {}])
async def test_row49_a_body_that_unpacks_to_more_is_not_unpacked(
    untouched: Target, headers: dict[str, str]
) -> None:
    bomb = gzip.compress(b" " * 20 * MIB, mtime=0)
    assert len(bomb) < MIB
    answer = await send(untouched.service, bomb, {**headers, "Content-Encoding": "gzip"})
    assert answer.status == (413 if headers else 401)
