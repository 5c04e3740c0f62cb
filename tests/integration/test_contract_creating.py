"""The contract, creation: the answer and its policy, what is refused, many at once."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

import pytest
import pytest_asyncio

from shared.attachments import ATTACHABLE_TYPES, Attachment
from tests.support.resources import PATH, body, invalid, problem, resource, time, written
from tests.support.service import MEDIA_TYPE, Answer, Client, Service
from tests.support.starting import StartService

BULK = f"{MEDIA_TYPE}; ext=bulk"
BULK_HEADERS = {"Content-Type": BULK, "Accept": BULK}
MAX_SIZE = 314_572_800
BLANK = invalid("data/attributes/name", "can't be blank", {})


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """A caller of an organization that has nothing yet."""
    return await running.organization()


async def post(client: Client, attributes: Mapping[str, Any]) -> Answer:
    """Ask for an attachment with those attributes."""
    return await client.request("POST", PATH, body(attributes))


async def count(client: Client) -> int:
    """Count the organization's attachments."""
    answer = await client.request("GET", PATH)
    total: int = answer.document["meta"]["total_count"]
    return total


def expected_fields(
    service: Service,
    row: Attachment,
    *,
    content_type: str | None = None,
    token: str | None = None,
) -> tuple[dict[str, str], dict[str, Any]]:
    """Write `aws_policy`, but for policy and signature, and the policy document."""
    date = row.created_at.astimezone(UTC)
    settings = service.settings
    typed = {} if content_type is None else {"Content-Type": content_type}
    temporary = {} if token is None else {"x-amz-security-token": token}
    signed = {
        "x-amz-credential": f"{service.stack.seaweedfs.access_key_id}/{date:%Y%m%d}"
        f"/{settings.s3_region}/s3/aws4_request",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-date": f"{date:%Y%m%dT%H%M%SZ}",
        **temporary,
    }
    key = row.key
    fields = {
        "key": key,
        "success_action_status": "201",
        **typed,
        "policy": "",
        **signed,
        "x-amz-signature": "",
    }
    document = {
        "expiration": f"{date + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "conditions": [
            {"bucket": settings.s3_bucket},
            {"key": key},
            {"success_action_status": "201"},
            ["content-length-range", 0, MAX_SIZE],
            *({name: value} for name, value in {**signed, **typed}.items()),
        ],
    }
    return fields, document


def decoded(fields: Mapping[str, str]) -> Any:
    """Read the policy document of form fields."""
    return json.loads(base64.b64decode(fields["policy"], validate=True))


async def test_create_answers_the_contracts_sample(start_service: StartService) -> None:
    service = await start_service(s3_region="eu-west-1")
    client = service.client
    await service.execute("ALTER SEQUENCE attachments_id_seq RESTART WITH 4")

    answer = await post(
        client, {"name": "img.png", "attachable_id": 5, "attachable_type": "comment"}
    )

    row = await service.row(4)
    fields, policy = expected_fields(service, row)
    sent = answer.data["attributes"]["aws_policy"]
    fields |= {"policy": sent["policy"], "x-amz-signature": sent["x-amz-signature"]}
    expires = row.created_at.replace(microsecond=0) + timedelta(hours=1)
    expected = {
        "data": resource(
            "4",
            client.organization_id,
            attributes={
                "name": "img.png",
                "url": f"{client.base_url}/attachments/files/000/000/004/original/img.png",
                "created_at": time(row.created_at),
                "attachable_type": "comment",
                "aws_policy": fields,
            },
        ),
        "meta": {
            "upload_url": f"{service.stack.seaweedfs.url}/{service.settings.s3_bucket}",
            "expires_at": time(expires),
        },
    }
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert answer.headers["Location"] == f"{client.base_url}{PATH}/4"
    assert written(answer.document) == written(expected)
    assert fields["key"] == "attachments/files/000/000/004/original/img.png"
    assert written(decoded(sent)) == written(policy)
    assert row.attachable_id == 5


async def test_a_declared_type_is_a_form_field_and_a_condition(
    running: Service, client: Client
) -> None:
    answer = await post(client, {"name": "a.pdf", "content_type": "application/pdf"})

    row = await running.row(answer.data["id"])
    fields, policy = expected_fields(running, row, content_type="application/pdf")
    sent = answer.data["attributes"]["aws_policy"]
    fields |= {"policy": sent["policy"], "x-amz-signature": sent["x-amz-signature"]}
    assert written(sent) == written(fields)
    assert written(decoded(sent)) == written(policy)
    assert answer.data["attributes"]["content_type"] == "application/pdf"


async def test_temporary_credentials_add_their_token(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token-of-the-tests")
    service = await start_service()

    answer = await post(service.client, {"name": "a.png"})

    row = await service.row(answer.data["id"])
    fields, policy = expected_fields(service, row, token="session-token-of-the-tests")
    sent = answer.data["attributes"]["aws_policy"]
    fields |= {"policy": sent["policy"], "x-amz-signature": sent["x-amz-signature"]}
    assert written(sent) == written(fields)
    assert written(decoded(sent)) == written(policy)


async def test_the_policy_is_on_that_answer_only(client: Client) -> None:
    created = await client.create()
    attachment_id = created["data"]["id"]

    listed = await client.request("GET", PATH)
    changed = await client.request(
        "PATCH", f"{PATH}/{attachment_id}", body({"name": "other"}, attachment_id)
    )

    assert "aws_policy" in created["data"]["attributes"]
    for shown in (await client.show(attachment_id), listed.data[0], changed.data):
        assert "aws_policy" not in shown["attributes"]


@pytest.mark.parametrize(
    ("attachment_id", "partition"),
    [
        pytest.param(4, "000/000/004", id="4"),
        pytest.param(2_592_959, "002/592/959", id="2,592,959"),
        pytest.param(999_999_999, "999/999/999", id="the last of nine digits"),
        pytest.param(1_000_000_000, "001/000/000/000", id="twelve digits from 1,000,000,000"),
    ],
)
async def test_the_key_holds_the_id_in_groups_of_three(
    service: Service, attachment_id: int, partition: str
) -> None:
    await service.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {attachment_id}")

    created = (await service.client.create("img.png"))["data"]

    assert created["id"] == str(attachment_id)
    key = f"attachments/files/{partition}/original/img.png"
    assert created["attributes"]["aws_policy"]["key"] == key
    assert created["attributes"]["url"] == f"{service.base_url}/{key}"


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        pytest.param("img.png", "img.png", id="safe already"),
        pytest.param("Übersicht März.pdf", "Ubersicht_Marz.pdf", id="accents and a space"),
        pytest.param("写真.jpg", "file.jpg", id="another script"),
        pytest.param("../../etc/passwd", "file._etc_passwd", id="a path"),
        pytest.param("${filename}", "_filename_", id="the variable of S3's forms"),
        pytest.param('a"b\\c%2F.png', "a_b_c_2F.png", id="quotes and escapes"),
        pytest.param(".", "file", id="a dot"),
        pytest.param("x" * 251 + ".png", "x" * 176 + ".png", id="255 characters"),
    ],
)
async def test_the_name_is_shown_as_sent_and_the_key_is_safe(
    client: Client, name: str, file_name: str
) -> None:
    created = (await client.create(name))["data"]

    assert created["attributes"]["name"] == name
    assert created["attributes"]["aws_policy"]["key"].rsplit("/", 1)[1] == file_name
    assert created["attributes"]["url"].rsplit("/", 1)[1] == file_name
    assert (await client.show(created["id"]))["attributes"]["name"] == name


async def test_everything_that_a_client_may_send_is_kept(running: Service, client: Client) -> None:
    attributes = {
        "name": "a.png",
        "attachable_type": "task",
        "attachable_id": 2**63 - 1,
        "content_type": "image/png",
        "size": MAX_SIZE,
        "attachment_type": "inline",
        "message_id": "<1@mail.example>",
        "external_id": "42-ö",
    }
    attachment_id = (await post(client, attributes)).data["id"]

    answer = await client.request("GET", f"{PATH}/{attachment_id}?include=task")

    row = await running.row(attachment_id)
    assert written(answer.data) == written(
        resource(
            attachment_id,
            client.organization_id,
            attributes={
                "name": "a.png",
                "content_type": "image/png",
                "size": MAX_SIZE,
                "url": f"{client.base_url}/{row.key}",
                "created_at": time(row.created_at),
                "attachment_type": "inline",
                "message_id": "<1@mail.example>",
                "external_id": "42-ö",
                "attachable_type": "task",
            },
            relationships={"task": {"data": {"type": "tasks", "id": "9223372036854775807"}}},
        )
    )


@pytest.mark.parametrize(
    "attachable_type",
    [
        "invoice",
        "purchase_order",
        "bill",
        "email",
        "page",
        "expense",
        "comment",
        "task",
        "document_style",
        "document_type",
        "deal",
        "booking",
        "widget",
        None,
    ],
)
async def test_an_attachment_may_belong_to(client: Client, attachable_type: str | None) -> None:
    answer = await post(client, {"name": "a.png", "attachable_type": attachable_type})

    assert answer.status == 201
    assert answer.data["attributes"]["attachable_type"] == attachable_type


async def test_read_only_and_unknown_attributes_are_ignored(client: Client) -> None:
    answer = await post(
        client,
        {
            "name": "a.png",
            "resized": True,
            "url": "https://evil.example",
            "thumb": "https://evil.example",
            "created_at": "2000-01-01T00:00:00Z",
            "deleted_at": "2000-01-01T00:00:00Z",
            "state": "ready",
            "aws_policy": {"key": "another"},
            "no_such_attribute": 1,
        },
    )

    attributes = answer.data["attributes"]
    assert answer.status == 201
    assert attributes["resized"] is False
    assert attributes["thumb"] is None
    assert attributes["deleted_at"] is None
    assert attributes["url"].startswith(f"{client.base_url}/attachments/files/")
    assert not attributes["created_at"].startswith("2000")
    assert attributes["aws_policy"]["key"].endswith("/original/a.png")
    assert "no_such_attribute" not in attributes
    assert answer.data["meta"]["state"] == "pending"


async def test_include_and_fieldsets_hold_for_the_answer_too(client: Client) -> None:
    answer = await client.request(
        "POST",
        f"{PATH}?include=task&fields[attachments]=name,task,aws_policy",
        body({"name": "a.png", "attachable_type": "task", "attachable_id": 3}),
    )

    assert answer.status == 201
    assert list(answer.data["attributes"]) == ["name", "aws_policy"]
    assert answer.data["relationships"] == {"task": {"data": {"type": "tasks", "id": "3"}}}
    assert answer.document["included"] == []


async def test_types_are_taken_as_clients_send_them(running: Service, client: Client) -> None:
    created = await client.create(
        "a.png",
        content_type="",
        size="1234",
        attachable_type="task",
        attachable_id="7",
        attachment_type=" ",
        external_id=12,
        message_id="",
        temp_url="",
    )

    attributes = created["data"]["attributes"]
    assert "Content-Type" not in attributes["aws_policy"]
    assert (attributes["content_type"], attributes["size"]) == (None, 1234)
    assert (attributes["external_id"], attributes["message_id"]) == ("12", None)
    row = await running.row(created["data"]["id"])
    assert (row.attachable_id, row.attachment_type, row.temp_url) == (7, None, None)
    answer = await client.request(
        "PATCH",
        f"{PATH}/{row.id}",
        body({"attachable_id": "8", "external_id": "", "message_id": 5}),
    )
    assert answer.status == 200
    row = await running.row(row.id)
    assert (row.attachable_id, row.external_id, row.message_id) == (8, None, "5")


@pytest.mark.parametrize("fields", ["name", "", "nonsense", "task"])
async def test_a_fieldset_keeps_the_policy(client: Client, fields: str) -> None:
    query = f"{PATH}?fields[attachments]={fields}"
    one = await client.request("POST", query, body({"name": "a.png"}))
    bulk = await client.request("POST", query, many([{"name": "a.png"}]), headers=BULK_HEADERS)

    named = [name for name in ("name",) if name == fields]
    for answer, created in ((one, one.data), (bulk, bulk.data[0])):
        assert answer.status == 201
        assert list(created["attributes"]) == [*named, "aws_policy"]
        assert answer.document["meta"]["upload_url"]
    shown = await client.request("GET", f"{PATH}/{one.data['id']}?fields[attachments]=aws_policy")
    assert shown.data["attributes"] == {}


# what is refused


@pytest.mark.parametrize(
    ("attributes", "errors"),
    [
        pytest.param(
            {"attachable_type": ""},
            [
                {
                    "status": "422",
                    "code": "invalid_attribute",
                    "title": "Invalid Attribute",
                    "detail": "can't be blank",
                    "meta": {},
                    "source": {"pointer": "data/attributes/name"},
                },
                {
                    "status": "422",
                    "code": "invalid_attribute",
                    "title": "Invalid Attribute",
                    "detail": "is not included in the list",
                    "meta": {"allow_nil": True, "value": ""},
                    "source": {"pointer": "data/attributes/attachable_type"},
                },
            ],
            id="the contract's sample: name and attachable_type",
        ),
        pytest.param(
            {"name": "a.png", "size": 315_621_376},
            [
                {
                    "status": "422",
                    "code": "invalid_attribute",
                    "title": "Invalid Attribute",
                    "detail": "must be less than or equal to 314572800",
                    "meta": {"allow_nil": True, "value": 315_621_376, "count": 314_572_800},
                    "source": {"pointer": "data/attributes/size"},
                }
            ],
            id="the contract's sample: size",
        ),
        pytest.param(
            {"name": "setup", "content_type": "application/x-msdownload"},
            [
                {
                    "status": "422",
                    "code": "invalid_attribute",
                    "title": "Invalid Attribute",
                    "detail": "is reserved",
                    "meta": {"value": "application/x-msdownload"},
                    "source": {"pointer": "data/attributes/content_type"},
                }
            ],
            id="the contract's sample: reserved type",
        ),
        pytest.param({"name": ""}, [BLANK], id="an empty name"),
        pytest.param({"name": None}, [BLANK], id="a name of null"),
        pytest.param({"name": " \t"}, [BLANK], id="a name of white space"),
        pytest.param(
            {"name": "x" * 256},
            [
                invalid(
                    "data/attributes/name",
                    "is too long (maximum is 255 characters)",
                    {"count": 255},
                )
            ],
            id="a name too long",
        ),
        pytest.param(
            {"name": "a", "attachable_id": "five"},
            [
                invalid(
                    "data/attributes/attachable_id",
                    "is not a number",
                    {"allow_nil": True, "value": "five"},
                )
            ],
            id="no number",
        ),
        pytest.param(
            {"name": "a", "attachment_type": "other"},
            [
                invalid(
                    "data/attributes/attachment_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "other", "allowed": ["inline"]},
                )
            ],
            id="an unknown attachment_type",
        ),
        pytest.param(
            {"name": "a", "content_type": "png"},
            [invalid("data/attributes/content_type", "is invalid", {"value": "png"})],
            id="no content type",
        ),
        pytest.param(
            {"name": "a", "temp_url": "https://evil.example/a"},
            [
                invalid(
                    "data/attributes/temp_url",
                    "is not an allowed location",
                    {"value": "https://evil.example/a"},
                )
            ],
            id="a temp_url elsewhere",
        ),
        pytest.param(
            {
                "temp_url": "https://evil.example/a",
                "external_id": 1.5,
                "message_id": "x" * 256,
                "attachment_type": "x",
                "attachable_id": 0,
                "content_type": "Application/X-MSDownload; a=b",
                "size": -1,
                "attachable_type": "project",
                "name": "",
            },
            [
                BLANK,
                invalid(
                    "data/attributes/attachable_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "project", "allowed": list(ATTACHABLE_TYPES)},
                ),
                invalid(
                    "data/attributes/size",
                    "must be greater than or equal to 0",
                    {"allow_nil": True, "value": -1, "count": 0},
                ),
                invalid(
                    "data/attributes/content_type",
                    "is reserved",
                    {"value": "Application/X-MSDownload; a=b"},
                ),
                invalid(
                    "data/attributes/attachable_id",
                    "must be greater than or equal to 1",
                    {"allow_nil": True, "value": 0, "count": 1},
                ),
                invalid(
                    "data/attributes/attachment_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "x", "allowed": ["inline"]},
                ),
                invalid(
                    "data/attributes/message_id",
                    "is too long (maximum is 255 characters)",
                    {"count": 255},
                ),
                invalid("data/attributes/external_id", "is invalid", {"value": 1.5}),
                invalid(
                    "data/attributes/temp_url",
                    "is not an allowed location",
                    {"value": "https://evil.example/a"},
                ),
            ],
            id="all at once, in the contract's order whatever the client's",
        ),
    ],
)
async def test_every_fault_of_an_attachment_is_told(
    client: Client, attributes: Mapping[str, Any], errors: list[Any]
) -> None:
    answer = await post(client, attributes)

    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert written(answer.document) == written({"errors": errors})
    assert await count(client) == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-msdownload",
        "application/x-dosexec",
        "application/x-executable",
        "application/x-msi",
        "application/vnd.android.package-archive",
        "application/hta",
        "application/x-mswinurl",
        "application/x-bat",
        "text/x-ms-regedit",
        "application/x-mach-binary",
        "application/java-archive",
    ],
)
async def test_what_a_desktop_would_run_is_reserved(client: Client, content_type: str) -> None:
    answer = await post(client, {"name": "a", "content_type": content_type})

    assert answer.status == 422
    assert answer.document == {
        "errors": [invalid("data/attributes/content_type", "is reserved", {"value": content_type})]
    }


@pytest.mark.parametrize("size", [0, MAX_SIZE])
async def test_sizes_up_to_the_limit_are_taken(client: Client, size: int) -> None:
    answer = await post(client, {"name": "a.png", "size": size})

    assert answer.status == 201
    assert answer.data["attributes"]["size"] == size


async def test_the_limit_is_a_setting(start_service: StartService) -> None:
    service = await start_service(max_size="10")

    refused = await post(service.client, {"name": "a.png", "size": 11})
    taken = await post(service.client, {"name": "a.png", "size": 10})

    assert refused.document == {
        "errors": [
            invalid(
                "data/attributes/size",
                "must be less than or equal to 10",
                {"allow_nil": True, "value": 11, "count": 10},
            )
        ]
    }
    policy = decoded(taken.data["attributes"]["aws_policy"])
    assert policy["conditions"][3] == ["content-length-range", 0, 10]


async def test_an_id_of_the_clients_own_is_refused(client: Client) -> None:
    answer = await client.request("POST", PATH, body({"name": "a"}, "5"))

    assert answer.status == 403
    assert [error["title"] for error in answer.document["errors"]] == ["Access Denied"]
    assert await count(client) == 0


# many at once


def many(attributes: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Wrap many attributes into the document of one request."""
    return {"data": [body(item)["data"] for item in attributes]}


async def test_many_are_created_at_once_in_their_order(running: Service, client: Client) -> None:
    answer = await client.request(
        "POST",
        PATH,
        many([{"name": f"{n}.png", "content_type": "image/png"} for n in range(100)]),
        headers=BULK_HEADERS,
    )

    assert answer.status == 201
    assert list(answer.document) == ["data", "meta"]
    assert list(answer.document["meta"]) == ["upload_url", "expires_at"]
    assert [item["attributes"]["name"] for item in answer.data] == [f"{n}.png" for n in range(100)]
    for item in (answer.data[0], answer.data[99]):
        row = await running.row(item["id"])
        fields, policy = expected_fields(running, row, content_type="image/png")
        sent = item["attributes"]["aws_policy"]
        assert list(sent) == list(fields)
        assert sent["key"] == row.key
        assert decoded(sent) == policy
    assert await count(client) == 100


async def test_one_of_many_is_an_array_too(client: Client) -> None:
    answer = await client.request("POST", PATH, many([{"name": "a"}]), headers=BULK_HEADERS)

    assert answer.status == 201
    assert [item["attributes"]["name"] for item in answer.data] == ["a"]


async def test_of_many_all_are_created_or_none(client: Client) -> None:
    answer = await client.request(
        "POST",
        PATH,
        many(
            [
                {"name": "", "temp_url": "https://evil.example/a"},
                {"name": "good.png"},
                {"name": "a", "size": MAX_SIZE + 1, "attachable_type": "x"},
                {"name": None},
            ]
        ),
        headers=BULK_HEADERS,
    )

    assert answer.status == 422
    assert written(answer.document) == written(
        {
            "errors": [
                invalid("data/0/attributes/name", "can't be blank", {}),
                invalid(
                    "data/0/attributes/temp_url",
                    "is not an allowed location",
                    {"value": "https://evil.example/a"},
                ),
                invalid(
                    "data/2/attributes/attachable_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "x", "allowed": list(ATTACHABLE_TYPES)},
                ),
                invalid(
                    "data/2/attributes/size",
                    f"must be less than or equal to {MAX_SIZE}",
                    {"allow_nil": True, "value": MAX_SIZE + 1, "count": MAX_SIZE},
                ),
                invalid("data/3/attributes/name", "can't be blank", {}),
            ]
        }
    )
    assert await count(client) == 0


@pytest.mark.parametrize(
    ("document", "headers"),
    [
        pytest.param(many([{"name": "a"}] * 101), BULK_HEADERS, id="101"),
        pytest.param(many([]), BULK_HEADERS, id="none"),
        pytest.param(body({"name": "a"}), BULK_HEADERS, id="an object with ext=bulk"),
        pytest.param(many([{"name": "a"}]), {}, id="an array without it"),
        pytest.param({"data": ["a"]}, BULK_HEADERS, id="no resource objects"),
    ],
)
async def test_many_that_are_not_as_many_should_be_are_refused(
    client: Client, document: Any, headers: Mapping[str, str]
) -> None:
    answer = await client.request("POST", PATH, document, headers=headers)

    assert answer.status == 400
    assert [error["title"] for error in answer.document["errors"]] == ["Bad Request"]
    assert await count(client) == 0


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        pytest.param(BULK, 201, id="bulk"),
        pytest.param(f'{MEDIA_TYPE}; ext="bulk"', 201, id="bulk in quotes"),
        pytest.param("*/*", 201, id="anything"),
        pytest.param("", 201, id="none at all"),
        pytest.param(MEDIA_TYPE, 406, id="the media type without it"),
        pytest.param(f"{MEDIA_TYPE}; ext=other", 406, id="another extension"),
        pytest.param("text/html", 406, id="something else"),
    ],
)
async def test_many_are_answered_where_bulk_is_accepted(
    client: Client, accept: str, status: int
) -> None:
    answer = await client.request(
        "POST", PATH, many([{"name": "a"}]), headers={"Content-Type": BULK, "Accept": accept}
    )

    assert answer.status == status
    if status == 201:
        assert answer.headers["Content-Type"] == f"{BULK}; charset=utf-8"
    if status == 406:
        assert answer.document == problem(406, "Not Acceptable", "The request was not accepted")
        assert await count(client) == 0
