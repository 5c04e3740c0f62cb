"""The contract, conventions: who may ask, errors word for word, media types, times, tenants."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio

from shared.tokens import create_token
from tests.support.resources import NOT_FOUND, PATH, body, problem, written
from tests.support.service import MEDIA_TYPE, Answer, Client, Service, until
from tests.support.starting import StartService

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
UNAUTHENTICATED = problem(401, "Unauthenticated", "You are not authenticated")
DENIED = problem(403, "Access Denied", "You are not authorized to access this resource")
NOT_ACCEPTABLE = problem(406, "Not Acceptable", "The request was not accepted")
UNSUPPORTED = problem(415, "Unsupported Media Type", "Unsupported content type")


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """A caller of an organization that has nothing yet."""
    return await running.organization()


def is_error(answer: Answer, document: Mapping[str, Any]) -> bool:
    """Check that an answer is that error document, in the API's own media type."""
    status = int(document["errors"][0]["status"])
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert written(answer.document) == written(document)
    return True


# who may ask


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


# tenants


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
    varying = ("Date",)
    assert foreign.body == missing.body
    assert {name: value for name, value in foreign.headers.items() if name not in varying} == {
        name: value for name, value in missing.headers.items() if name not in varying
    }
    assert await running.row(attachment_id) == before


# media types


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("", id="none"),
        pytest.param(" , ", id="an empty list"),
        pytest.param("*/*", id="anything"),
        pytest.param("application/*", id="any application"),
        pytest.param(MEDIA_TYPE, id="the media type"),
        pytest.param(f"{MEDIA_TYPE}, application/json", id="the media type and another"),
        pytest.param(BROWSER, id="a browser's default"),
        pytest.param(f"text/html, {MEDIA_TYPE};q=0.1", id="reluctantly"),
    ],
)
async def test_accept_is_lenient(client: Client, accept: str) -> None:
    answer = await client.request("GET", PATH, headers={"Accept": accept})

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("text/html", id="something else"),
        pytest.param("application/json", id="JSON"),
        pytest.param(f"{MEDIA_TYPE}; charset=utf-8", id="a parameter"),
        pytest.param(f"{MEDIA_TYPE}; ext=other", id="another extension"),
        pytest.param(f"{MEDIA_TYPE}; q=0", id="not at all"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_an_accept_that_cannot_be_met_is_not_acceptable(
    client: Client, method: str, accept: str
) -> None:
    attachment_id = (await client.create("a"))["data"]["id"]
    path = PATH if method == "POST" else f"{PATH}/{attachment_id}"
    document = body({"name": "b"}) if method in ("POST", "PATCH") else None

    answer = await client.request(method, path, document, headers={"Accept": accept})

    assert is_error(answer, NOT_ACCEPTABLE)
    assert (await client.show(attachment_id))["attributes"]["name"] == "a"
    assert len((await client.request("GET", PATH)).data) == 1


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param("", id="none"),
        pytest.param("application/json", id="JSON"),
        pytest.param("text/plain", id="text"),
        pytest.param(f"{MEDIA_TYPE}; charset=iso-8859-1", id="another charset"),
        pytest.param(f"{MEDIA_TYPE}; ext=other", id="another extension"),
        pytest.param(f"{MEDIA_TYPE}; version=1", id="another parameter"),
        pytest.param("multipart/form-data; boundary=x", id="a form"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_body_needs_the_media_type(client: Client, method: str, content_type: str) -> None:
    attachment_id = (await client.create("a"))["data"]["id"]
    path = PATH if method == "POST" else f"{PATH}/{attachment_id}"

    answer = await client.request(
        method, path, body({"name": "b"}), headers={"Content-Type": content_type}
    )

    assert is_error(answer, UNSUPPORTED)
    assert (await client.show(attachment_id))["attributes"]["name"] == "a"


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param(MEDIA_TYPE, id="as it is"),
        pytest.param("Application/Vnd.API+JSON", id="in capitals"),
        pytest.param(f'{MEDIA_TYPE}; profile="https://example.com/a"', id="a profile"),
        pytest.param(f'{MEDIA_TYPE}; profile="https://example.com/a;b,c"', id="marks in quotes"),
        pytest.param(f"{MEDIA_TYPE}; charset=utf-8", id="the charset that HTTP stacks add"),
    ],
)
async def test_a_body_of_the_media_type_is_taken(client: Client, content_type: str) -> None:
    answer = await client.request(
        "POST", PATH, body({"name": "a"}), headers={"Content-Type": content_type}
    )

    assert answer.status == 201


# errors, word for word


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
async def test_what_is_not_supported_is_named(
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


async def test_an_organization_over_its_rate_is_told_to_wait_and_no_other_is(
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


async def test_while_the_database_is_away_a_client_is_told_to_come_again(
    start_service: StartService,
) -> None:
    # nothing listens on the discard port
    service = await start_service(database_url="postgresql://127.0.0.1:9/attachments")

    answer = await service.client.request("GET", PATH)

    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    (error,) = answer.document["errors"]
    assert (error["status"], error["title"]) == ("503", "Service Unavailable")


# times


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        pytest.param(
            "UTC", "2026-04-17T04:02:48.589999+00:00", "2026-04-17T04:02:48.589+00:00", id="UTC"
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-04-17T04:02:48.589+00:00",
            "2026-04-17T06:02:48.589+02:00",
            id="Berlin in summer",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-01-17T04:02:48+00:00",
            "2026-01-17T05:02:48.000+01:00",
            id="Berlin in winter",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-10-25T00:30:00+00:00",
            "2026-10-25T02:30:00.000+02:00",
            id="the hour that comes twice, first",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-10-25T01:30:00+00:00",
            "2026-10-25T02:30:00.000+01:00",
            id="the hour that comes twice, again",
        ),
        pytest.param(
            "Asia/Kolkata",
            "2026-04-17T04:02:48.5+00:00",
            "2026-04-17T09:32:48.500+05:30",
            id="half an hour",
        ),
    ],
)
async def test_times_are_shown_in_the_zone_that_is_set(
    start_service: StartService, zone: str, moment: str, shown: str
) -> None:
    service = await start_service(time_zone=zone)
    created = (await service.client.create())["data"]
    await service.execute(
        "UPDATE attachments SET created_at = $2, processed_at = $2 WHERE id = $1",
        int(created["id"]),
        datetime.fromisoformat(moment),
    )

    resource = await service.client.show(created["id"])

    assert resource["attributes"]["created_at"] == shown
    assert resource["meta"]["processed_at"] == shown


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
async def test_the_end_of_a_policy_is_shown_in_the_zone_too(
    start_service: StartService, zone: str
) -> None:
    service = await start_service(time_zone=zone)

    created = await service.client.create()

    row = await service.row(created["data"]["id"])
    offset = datetime.fromisoformat(created["meta"]["expires_at"]).utcoffset()
    assert datetime.fromisoformat(created["meta"]["expires_at"]) == row.policy_expires_at
    assert offset == row.policy_expires_at.astimezone(service.settings.zone).utcoffset()
