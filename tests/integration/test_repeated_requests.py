"""Idempotency-Key: a POST that is sent again creates nothing twice."""

import asyncio
import json
from typing import Any

import pytest

from shared import idempotency
from shared.idempotency import RequestKey
from tests.support.creating import count, decoded
from tests.support.proxy import Link, running_proxy
from tests.support.quotas import BULK, resource
from tests.support.receiver import PATH as WEBHOOKS
from tests.support.receiver import SETTINGS
from tests.support.resources import PATH, body
from tests.support.service import Answer, Client, Service
from tests.support.starting import StartService

NAME = {"name": "a.png", "external_id": "e"}


async def post(
    client: Client, key: str, document: Any = None, *, path: str = PATH, **more: str
) -> Answer:
    """Send a POST with this Idempotency-Key."""
    headers = {"Idempotency-Key": key, **more}
    return await client.request("POST", path, document or body(NAME), headers=headers)


async def test_the_same_request_gets_the_same_attachment_with_a_fresh_policy(
    service: Service,
) -> None:
    first = await post(service.client, "k-1")
    await service.execute(
        "UPDATE attachments SET state = 'expired', policy_expires_at = now() - interval '1 hour'"
    )

    second = await post(service.client, '"k-1"')

    assert (first.status, second.status) == (201, 201)
    assert second.headers["Location"] == first.headers["Location"]
    row = await service.row(first.data["id"])
    ends = decoded(second.data["attributes"].pop("aws_policy"))["expiration"]
    assert ends == f"{row.policy_expires_at:%Y-%m-%dT%H:%M:%SZ}"
    first.data["attributes"].pop("aws_policy")
    assert second.data == first.data
    assert await count(service.client) == 1
    assert await count(await service.organization()) == 0


async def test_a_body_with_the_same_values_is_the_same_body(service: Service) -> None:
    first = await post(service.client, "k")
    shuffled = {"data": {"attributes": dict(reversed(NAME.items())), "type": "attachments"}}

    spaced = await service.client.request(
        "POST",
        f"{PATH}/",
        body=json.dumps(shuffled, indent=2).encode(),
        headers={"Idempotency-Key": "k"},
    )

    assert spaced.status == 201, spaced.body
    assert spaced.data["id"] == first.data["id"]


async def test_row46_another_body_or_path_is_refused(service: Service) -> None:
    first = await post(service.client, "k")
    path = f"{PATH}/{first.data['id']}/aws_policy"

    for answer in (
        await post(service.client, "k", body({"name": "b.png"})),
        await post(service.client, "k", body({"name": "a.png"}), path=f"{PATH}?include=task"),
        await service.client.request("POST", path, headers={"Idempotency-Key": "k"}),
    ):
        assert answer.status == 422, answer.body
        (error,) = answer.document["errors"]
        assert error["code"] == "idempotency_key_reused"
        assert error["source"] == {"header": "Idempotency-Key"}
    assert await count(service.client) == 1


async def test_row46_parallel_requests_make_one_attachment(service: Service) -> None:
    answers = await asyncio.gather(*(post(service.client, "k") for _ in range(20)))

    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.data["id"] for answer in answers if answer.status == 201}) == 1
    assert await count(service.client) == 1


async def test_row46_a_key_that_another_process_has_is_a_conflict(service: Service) -> None:
    first = await post(service.client, "k")
    digest, fingerprint = await service.database.fetchrow(
        "SELECT digest, fingerprint FROM idempotency_keys"
    ) or (b"", b"")
    key = RequestKey(
        organization_id=service.client.organization_id, digest=digest, fingerprint=fingerprint
    )
    await service.execute("DELETE FROM idempotency_keys")

    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", key.lock)
        answer = await post(service.client, "k")

    assert answer.status == 409, answer.body
    assert answer.document["errors"][0]["source"] == {"header": "Idempotency-Key"}
    after = await post(service.client, "k")
    assert after.status == 201
    assert after.data["id"] != first.data["id"]


async def test_keys_belong_to_an_organization(service: Service) -> None:
    other = await service.organization()

    mine, theirs = await post(service.client, "k"), await post(other, "k")

    assert mine.data["id"] != theirs.data["id"]
    assert theirs.status == 201


async def test_bulk_and_new_policies_are_repeated_too(service: Service) -> None:
    document = {"data": [resource(name=f"{number}.txt") for number in range(5)]}
    types = {"Content-Type": BULK, "Accept": BULK}
    first = await post(service.client, "b", document, **types)
    second = await post(service.client, "b", document, **types)
    assert second.status == 201, second.body
    assert [each["id"] for each in second.data] == [each["id"] for each in first.data]
    assert all("aws_policy" in each["attributes"] for each in second.data)
    assert await count(service.client) == 5

    path = f"{PATH}/{first.data[0]['id']}/aws_policy"
    for _ in range(2):
        again = await service.client.request("POST", path, headers={"Idempotency-Key": "p"})
        assert again.status == 200, again.body
        assert again.data["id"] == first.data[0]["id"]


async def test_a_refused_request_does_not_use_its_key_up(start_service: StartService) -> None:
    service = await start_service(quota_attachments="1")
    await service.client.create()

    refused = await post(service.client, "k")
    await service.execute("UPDATE organizations SET quota_attachments = 2")
    await asyncio.sleep(0.2)
    made = await post(service.client, "k")
    # The quota is used up by now, but the repeated request is still answered with 201.
    again = await post(service.client, "k")

    assert [answer.status for answer in (refused, made, again)] == [422, 201, 201]
    assert again.data["id"] == made.data["id"]


async def test_a_deleted_attachment_is_missing(service: Service) -> None:
    first = await post(service.client, "k")
    await service.client.request("DELETE", f"{PATH}/{first.data['id']}")

    assert (await post(service.client, "k")).status == 404
    assert await count(service.client) == 0


async def test_a_key_counts_for_a_day_and_is_then_removed(service: Service) -> None:
    first = await post(service.client, "old")
    await post(service.client, "new")
    await service.execute(
        "UPDATE idempotency_keys SET created_at = created_at - interval '24 hours'"
        " WHERE made = ARRAY[$1::bigint]",
        int(first.data["id"]),
    )

    async with service.database.acquire() as connection:
        assert await idempotency.prune(connection) == 1
        assert await idempotency.prune(connection) == 0
    second = await post(service.client, "old")
    assert second.status == 201
    assert second.data["id"] != first.data["id"]
    await service.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    assert (await post(service.client, "old")).data["id"] not in (
        first.data["id"],
        second.data["id"],
    )


@pytest.mark.parametrize(
    "key",
    ["", '""', "x" * 256, '"open', '"a"b', '"a";p=1', "é", "a\tb", '"a\\b"', "a\u00a0"],
    ids=[
        "blank",
        "empty",
        "long",
        "open",
        "after",
        "parameter",
        "no ASCII",
        "tab",
        "escape",
        "blank that is no ASCII",
    ],
)
async def test_row103_a_bad_key_is_refused(service: Service, key: str) -> None:
    async with service.client.session.post(
        f"{service.base_url}{PATH}",
        json=body(NAME),
        headers={
            "X-Auth-Token": service.client.token,
            "X-Organization-Id": str(service.client.organization_id),
            "Content-Type": "application/vnd.api+json",
            "Idempotency-Key": key,
        },
    ) as answer:
        assert answer.status == 400
        assert (await answer.json(content_type=None))["errors"][0]["source"] == {
            "header": "Idempotency-Key"
        }
    assert await count(service.client) == 0


@pytest.mark.parametrize("key", ["x" * 255, '"' + "y" * 255 + '"', '"a \\"b\\" \\\\"', "0"])
async def test_a_good_key_is_taken(service: Service, key: str) -> None:
    first, second = await post(service.client, key), await post(service.client, key)

    assert first.status == 201, first.body
    assert second.data["id"] == first.data["id"]


def is_a_commit(_link: Link, data: bytes) -> bool:
    """Return True if the bytes are PostgreSQL's answer to COMMIT: CommandComplete, then
    ReadyForQuery.
    """
    return b"COMMIT\x00Z" in data


async def test_a_commit_whose_answer_is_lost_is_found_again(
    start_service: StartService, database_url: str
) -> None:
    async with running_proxy(database_url) as proxy:
        service = await start_service(database_url=proxy.url)
        proxy.lose(is_a_commit)
        lost = await post(service.client, "k")
        proxy.let_go()

        assert await service.database.fetchval("SELECT count(*) FROM attachments") == 1
        again = await post(service.client, "k")
        assert again.status == 201, again.body
        assert await count(service.client) == 1
    assert lost.status in (201, 503)


async def test_a_repeated_webhook_secret_and_test_are_those_of_the_first_time(
    start_service: StartService,
) -> None:
    service = await start_service(**SETTINGS)
    client = service.client
    document = {
        "data": {"type": "webhooks", "attributes": {"target_url": "https://receiver.example/hook"}}
    }
    first = await post(client, "w", document, path=WEBHOOKS)
    second = await post(client, "w", document, path=WEBHOOKS)
    assert (first.status, second.status) == (201, 201)
    assert second.document == first.document
    assert second.data["attributes"]["secret"].startswith("whsec_")
    assert (await client.request("GET", WEBHOOKS)).document["meta"]["total_count"] == 1

    place = f"{WEBHOOKS}/{first.data['id']}"
    for action, key in (("secret", "s"), ("test", "t")):
        answers = [
            await client.request("POST", f"{place}/{action}", headers={"Idempotency-Key": key})
            for _ in range(2)
        ]
        assert answers[0].status in (200, 201)
        assert answers[1].status == answers[0].status
        assert answers[1].document == answers[0].document
    assert answers[0].data["type"] == "webhook_deliveries"
    assert await service.database.fetchval("SELECT count(*) FROM webhook_deliveries") == 1
    stored = await service.database.fetch("SELECT k::text AS text FROM idempotency_keys AS k")
    assert not any("whsec_" in row["text"] for row in stored)
