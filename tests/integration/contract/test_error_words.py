"""Tests of the contract: each error has exactly the contract's text."""

import asyncio
from typing import Any

import pytest

from tests.support.resources import NOT_FOUND, PATH, body, is_error, problem
from tests.support.service import Client, Service
from tests.support.starting import StartService


async def test_an_attachment_that_is_not_there_is_not_found(client: Client) -> None:
    answer = await client.request("GET", f"{PATH}/1")

    assert is_error(
        answer,
        {
            "errors": [
                {
                    "status": "404",
                    "title": "Record Not Found",
                    "detail": "The requested record was not found",
                }
            ]
        },
    )


@pytest.mark.parametrize("path", ["/", "/api/v2", "/api/v2/people", "/api/v1/attachments"])
async def test_an_address_that_is_not_there_is_not_found(client: Client, path: str) -> None:
    assert is_error(await client.request("GET", path), NOT_FOUND)


@pytest.mark.parametrize(
    ("query", "title", "detail"),
    [
        ("filter[x]=1", "Unsupported Filter", "Filter 'x' is not supported on this endpoint"),
        ("sort=x", "Unsupported Sort", "Sort by 'x' is not supported on this endpoint"),
        ("include=x", "Unsupported Include", "Include 'x' is not supported on this endpoint"),
    ],
    ids=["filter", "sort", "include"],
)
@pytest.mark.parametrize("route", ["list", "show"])
async def test_an_unsupported_parameter_is_named(
    client: Client, route: str, query: str, title: str, detail: str
) -> None:
    created = await client.create()
    path = PATH if route == "list" else f"{PATH}/{created['data']['id']}"

    answer = await client.request("GET", f"{path}?{query}")

    assert is_error(answer, problem(400, title, detail))


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half of an object"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'{"data":null}', id="no resource object"),
        pytest.param(b'{"data":{"attributes":{}}}', id="no type"),
        pytest.param(b'{"data":{"type":"attachments","attributes":[]}}', id="no attributes"),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_bad_request(client: Client, sent: bytes) -> None:
    answer = await client.request("POST", PATH, body=sent)

    assert answer.status == 400
    (error,) = answer.document["errors"]
    assert list(error) == ["status", "title", "detail"]
    assert (error["status"], error["title"]) == ("400", "Bad Request")


@pytest.mark.parametrize(
    ("method", "document"),
    [
        pytest.param("POST", {"data": {"type": "people", "attributes": {"name": "a"}}}, id="POST"),
        pytest.param(
            "PATCH", {"data": {"type": "people", "attributes": {"name": "b"}}}, id="PATCH, type"
        ),
        pytest.param("PATCH", body({"name": "b"}, "999999"), id="PATCH, another id"),
        pytest.param(
            "PATCH",
            {"data": {"type": "attachments", "id": 1, "attributes": {"name": "b"}}},
            id="PATCH, an id that is a number",
        ),
    ],
)
async def test_a_wrong_type_or_id_is_a_conflict(client: Client, method: str, document: Any) -> None:
    attachment_id = (await client.create("a"))["data"]["id"]
    path = PATH if method == "POST" else f"{PATH}/{attachment_id}"

    answer = await client.request(method, path, document)

    assert answer.status == 409
    (error,) = answer.document["errors"]
    assert list(error) == ["status", "title", "detail"]
    assert (error["status"], error["title"]) == ("409", "Conflict")
    assert (await client.show(attachment_id))["attributes"]["name"] == "a"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("PUT", PATH, {"GET", "HEAD", "POST"}, id="PUT all"),
        pytest.param("DELETE", PATH, {"GET", "HEAD", "POST"}, id="DELETE all"),
        pytest.param("POST", f"{PATH}/1", {"GET", "HEAD", "PATCH", "DELETE"}, id="POST one"),
        pytest.param("PUT", f"{PATH}/1", {"GET", "HEAD", "PATCH", "DELETE"}, id="PUT one"),
    ],
)
async def test_a_method_that_is_not_there_is_named_with_those_that_are(
    client: Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = await client.request(method, path)

    assert is_error(
        answer,
        problem(405, "Method Not Allowed", "The method is not allowed on this endpoint"),
    )
    assert set(answer.headers["Allow"].split(",")) == allowed


async def test_a_body_over_the_limit_is_too_large(client: Client) -> None:
    answer = await client.request("POST", PATH, body({"name": "x" * 70_000}))

    assert answer.status == 413
    (error,) = answer.document["errors"]
    assert (error["status"], error["title"]) == ("413", "Payload Too Large")


async def test_only_the_organization_over_its_rate_gets_429(
    start_service: StartService,
) -> None:
    service = await start_service(rate_limit="1")
    other = await service.organization()

    answers = await asyncio.gather(*(service.client.request("GET", PATH) for _ in range(20)))

    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    for answer in refused:
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1
        (error,) = answer.document["errors"]
        assert (error["status"], error["title"]) == ("429", "Too Many Requests")
    assert (await other.request("GET", PATH)).status == 200


async def test_of_a_bug_nothing_but_that_is_shown(service: Service) -> None:
    await service.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'secret inside' USING ERRCODE = 'division_by_zero'; END $$"
    )
    await service.execute(
        "CREATE TRIGGER fails BEFORE INSERT ON attachments FOR EACH ROW EXECUTE FUNCTION fail()"
    )

    answer = await service.client.request("POST", PATH, body({"name": "a"}))

    assert answer.status == 500
    (error,) = answer.document["errors"]
    assert list(error) == ["status", "title", "detail"]
    assert (error["status"], error["title"]) == ("500", "Server Error")
    for inside in (b"secret", b"fail", b"attachments", b"Traceback", b"asyncpg"):
        assert inside not in answer.body


async def test_while_the_database_is_unavailable_a_client_gets_503(
    start_service: StartService,
) -> None:
    # No process listens on port 9.
    service = await start_service(database_url="postgresql://127.0.0.1:9/attachments")

    answer = await service.client.request("GET", PATH)

    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    (error,) = answer.document["errors"]
    assert (error["status"], error["title"]) == ("503", "Service Unavailable")
