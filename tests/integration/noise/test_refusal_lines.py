"""The log lines about refusals and deletions."""

from api.noise import AT_ONCE
from shared import tokens
from tests.support.noise import PATH, exchange, logged, request
from tests.support.service import Service
from tests.support.service_processes import ApiProcess


async def test_a_refusal_is_logged_with_client_route_and_reason(
    api: ApiProcess, service: Service
) -> None:
    client = service.client
    own, wrong = f"X-Auth-Token: {client.token}", f"X-Auth-Token: {'f' * 64}"
    async with service.database.acquire() as connection:
        reader = await tokens.issue_token(connection, client.organization_id, "r", scope="read")
        own_id = await connection.fetchval("SELECT min(id) FROM tokens")
    organization = f"X-Organization-Id: {client.organization_id}"
    await exchange(api, request())
    await exchange(api, request(f"{PATH}/7?secret=x", wrong, organization, method="DELETE"))
    await exchange(api, request(PATH, own, "X-Organization-Id: 0"))
    limited = f"X-Auth-Token: {reader.plain}"
    await exchange(api, request(f"{PATH}/7", limited, organization, method="DELETE"))
    common = {"address": "127.0.0.1", "route": PATH}
    varying = ("level", "logger", "timestamp", "process", "request_id")
    found = [
        {name: line[name] for name in line if name not in varying}
        for event in ("authentication failed", "access denied")
        for line in await logged(api, event, 2)
    ]
    known = {"organization": client.organization_id}
    assert found == [
        {"event": "authentication failed", "reason": "no token", "method": "GET", **common},
        {
            "event": "authentication failed",
            "reason": "unknown token",
            "method": "DELETE",
            **common,
            "route": f"{PATH}/{{id}}",
        },
        {
            "event": "access denied",
            "reason": "wrong organization",
            "method": "GET",
            **common,
            **known,
            "token": own_id,
        },
        {
            "event": "access denied",
            "reason": "outside the scope",
            "method": "DELETE",
            **common,
            **known,
            "route": f"{PATH}/{{id}}",
            "token": reader.id,
        },
    ]
    for secret in (client.token, reader.plain, "f" * 64, "secret"):
        assert secret not in api.log()


async def test_every_delete_is_a_line_of_its_own(api: ApiProcess, service: Service) -> None:
    client = service.client
    ids = [int((await client.create())["data"]["id"]) for _ in range(AT_ONCE + 5)]
    headers = f"X-Auth-Token: {client.token}", f"X-Organization-Id: {client.organization_id}"
    for number in ids:
        await exchange(api, request(f"{PATH}/{number}", *headers, method="DELETE"))
    # The attachment is already deleted, so this request is not logged.
    await exchange(api, request(f"{PATH}/{ids[0]}", *headers, method="DELETE"))
    found = await logged(api, "attachment deleted", len(ids))
    assert [line["attachment"] for line in found] == ids
    token = await service.database.fetchval("SELECT id FROM tokens")
    for line in found:
        assert (line["organization"], line["token"], line["address"], line["level"]) == (
            client.organization_id,
            token,
            "127.0.0.1",
            "info",
        )
    assert client.token not in api.log()
