"""Tests of the contract: tokens and organizations in requests."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.tokens import create_token
from tests.support.resources import NOT_FOUND, PATH, body, is_error, problem
from tests.support.service import Answer, Client, Service, until

UNAUTHENTICATED = problem(401, "Unauthenticated", "You are not authenticated")
DENIED = problem(403, "Access Denied", "You are not authorized to access this resource")


@pytest.mark.parametrize(
    ("headers", "document"),
    [
        pytest.param({"X-Auth-Token": ""}, UNAUTHENTICATED, id="no token"),
        pytest.param({"X-Auth-Token": "unknown"}, UNAUTHENTICATED, id="an unknown token"),
        pytest.param(
            {"X-Auth-Token": "", "Authorization": "Bearer unknown"},
            UNAUTHENTICATED,
            id="an unknown bearer",
        ),
        pytest.param(
            {"X-Auth-Token": "", "Authorization": "Basic dTpw"}, UNAUTHENTICATED, id="a password"
        ),
        pytest.param({"X-Organization-Id": ""}, DENIED, id="no organization"),
        pytest.param({"X-Organization-Id": "999999"}, DENIED, id="another organization"),
        pytest.param({"X-Organization-Id": "x"}, DENIED, id="no organization's id"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "document_sent"),
    [
        pytest.param("GET", PATH, None, id="list"),
        pytest.param("GET", f"{PATH}/1", None, id="show"),
        pytest.param("POST", PATH, body({"name": "a"}), id="create"),
        pytest.param("PATCH", f"{PATH}/1", body({"name": "a"}), id="update"),
        pytest.param("DELETE", f"{PATH}/1", None, id="delete"),
    ],
)
async def test_every_request_needs_a_token_and_its_organization(
    client: Client,
    method: str,
    path: str,
    document_sent: Any,
    headers: Mapping[str, str],
    document: Any,
) -> None:
    answer = await client.request(method, path, document_sent, headers=headers)

    assert is_error(answer, document)


async def test_a_bearer_is_accepted_in_place_of_the_header(client: Client) -> None:
    answer = await client.request(
        "GET", PATH, headers={"X-Auth-Token": "", "Authorization": f"Bearer {client.token}"}
    )

    assert answer.status == 200


async def test_a_revoked_token_is_refused(running: Service, client: Client) -> None:
    assert (await client.request("GET", PATH)).status == 200

    await running.execute(
        "UPDATE tokens SET revoked_at = now() WHERE organization_id = $1", client.organization_id
    )

    async def refused() -> Answer | None:
        answer = await client.request("GET", PATH)
        return answer if answer.status != 200 else None

    assert is_error(await until(refused), UNAUTHENTICATED)


async def test_the_creator_is_the_person_of_the_token(running: Service, client: Client) -> None:
    async with running.database.acquire() as connection:
        token = await create_token(connection, client.organization_id, "a person's", 77)

    created = await client.request(
        "POST", f"{PATH}?include=creator", body({"name": "a"}), headers={"X-Auth-Token": token}
    )

    assert created.data["relationships"]["creator"] == {"data": {"type": "people", "id": "77"}}


@pytest.mark.parametrize(
    ("method", "document"),
    [
        pytest.param("GET", None, id="show"),
        pytest.param("PATCH", body({"name": "mine now"}), id="update"),
        pytest.param("PATCH", body({"name": ""}), id="a faulty update"),
        pytest.param("PATCH", body({"temp_url": "https://evil.example"}), id="a faulty temp_url"),
        pytest.param("DELETE", None, id="delete"),
    ],
)
async def test_another_organizations_row_answers_exactly_as_a_missing_one(
    running: Service, client: Client, method: str, document: Any
) -> None:
    created = await client.create("theirs")
    attachment_id = created["data"]["id"]
    before = await running.row(attachment_id)
    other = await running.organization()

    foreign = await other.request(method, f"{PATH}/{attachment_id}", document)
    missing = await other.request(method, f"{PATH}/{2**62}", document)

    assert is_error(foreign, NOT_FOUND)

    def constant(answer: Answer) -> dict[str, str]:
        # These headers depend on the time or on the request, so they differ between two answers.
        varying = ("Date", "Ratelimit", "X-Request-Id")
        return {
            name: answer.headers[name] for name in answer.headers if name.title() not in varying
        }

    assert foreign.body == missing.body
    assert constant(foreign) == constant(missing)
    assert await running.row(attachment_id) == before
