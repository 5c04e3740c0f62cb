"""`meta.limits`: a client sets a lower limit, which the store and the worker enforce."""

import base64
import json
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.limits import MAX_UNKNOWN, NO_LIMITS, find_limits
from tests.data.images import photo
from tests.support.objects import opened_storage
from tests.support.service import MEDIA_TYPE, Answer, Client, Service
from tests.support.starting import StartService

BULK = f"{MEDIA_TYPE}; ext=bulk"
MAX_SIZE = 314572800
AVATAR = {"max_size": 5242880, "content_types": ["image/*"]}


def resource(limits: Any, **attributes: Any) -> dict[str, Any]:
    return {
        "type": "attachments",
        "attributes": {"name": "a.png", **attributes},
        "meta": {"limits": limits},
    }


async def create(client: Client, limits: Any, **attributes: Any) -> Answer:
    return await client.request(
        "POST", "/api/v2/attachments", {"data": resource(limits, **attributes)}
    )


async def bulk(client: Client, document: Any) -> Answer:
    headers = {"Content-Type": BULK, "Accept": BULK}
    return await client.request("POST", "/api/v2/attachments", document, headers=headers)


async def created(client: Client, limits: Any, **attributes: Any) -> Any:
    answer = await create(client, limits, **attributes)
    assert answer.status == 201, answer.body
    return answer.document


def conditions(document: Any) -> list[Any]:
    policy = base64.b64decode(document["data"]["attributes"]["aws_policy"]["policy"])
    return list(json.loads(policy)["conditions"])


async def test_limits_are_signed_and_shown(service: Service) -> None:
    document = await created(service.client, AVATAR)
    assert document["data"]["meta"]["limits"] == AVATAR
    assert ["content-length-range", 0, 5242880] in conditions(document)
    assert "Content-Type" not in document["data"]["attributes"]["aws_policy"]
    assert (await service.client.show(document["data"]["id"]))["meta"]["limits"] == AVATAR


async def test_without_limits_the_document_is_as_before(service: Service) -> None:
    for limits in (None, {}, {"max_size": None, "content_types": None}):
        document = await created(service.client, limits)
        assert "limits" not in document["data"]["meta"]
        assert ["content-length-range", 0, MAX_SIZE] in conditions(document)


async def test_a_single_create_may_have_them_in_the_documents_meta(service: Service) -> None:
    data = {"type": "attachments", "attributes": {"name": "a.png"}}
    for both in (False, True):
        if both:
            data["meta"] = {"limits": {"max_size": "7", "content_types": [" Image/* "]}}
        answer = await service.client.request(
            "POST",
            "/api/v2/attachments",
            {"data": data, "meta": {"limits": {"max_size": 7, "content_types": ["image/*"]}}},
        )
        assert answer.status == 201, answer.body
        assert answer.data["meta"]["limits"] == {"max_size": 7, "content_types": ["image/*"]}


async def test_limits_in_two_places_must_not_differ(service: Service) -> None:
    answer = await service.client.request(
        "POST",
        "/api/v2/attachments",
        {"data": resource({"max_size": 7}), "meta": {"limits": {"max_size": 8}}},
    )
    assert answer.status == 422
    (error,) = answer.document["errors"]
    assert error["source"]["pointer"] == "meta/limits"
    assert error["detail"] == "contradicts data/meta/limits"


async def test_in_bulk_each_has_its_own(service: Service) -> None:
    answer = await bulk(
        service.client, {"data": [resource({"max_size": 7}), resource({"max_size": 8})]}
    )
    assert [item["meta"]["limits"]["max_size"] for item in answer.data] == [7, 8]
    answer = await bulk(
        service.client, {"data": [resource({"max_size": 7}), resource({"max_size": 0})]}
    )
    assert answer.status == 422
    assert [e["source"]["pointer"] for e in answer.document["errors"]] == [
        "data/1/meta/limits/max_size"
    ]
    answer = await bulk(
        service.client, {"data": [resource(None)], "meta": {"limits": {"max_size": 7}}}
    )
    assert answer.status == 422
    assert answer.document["errors"][0]["source"]["pointer"] == "meta/limits"


@pytest.mark.parametrize(
    ("limits", "pointer", "detail"),
    [
        ("big", "", "is invalid"),
        ([], "", "is invalid"),
        (False, "", "is invalid"),
        ({"maxSize": 5}, "/maxSize", "is not a known limit"),
        ({"max_size": 0}, "/max_size", "must be greater than or equal to 1"),
        ({"max_size": -(2**70)}, "/max_size", "must be greater than or equal to 1"),
        (
            {"max_size": MAX_SIZE + 1},
            "/max_size",
            f"must be less than or equal to {MAX_SIZE}",
        ),
        ({"max_size": "5 MB"}, "/max_size", "is not a number"),
        ({"max_size": True}, "/max_size", "is not a number"),
        ({"max_size": 1.5}, "/max_size", "must be an integer"),
        ({"content_types": []}, "/content_types", "can't be blank"),
        ({"content_types": "image/*"}, "/content_types", "is not a list"),
        (
            {"content_types": ["image/png"] * 21},
            "/content_types",
            "is too long (maximum is 20 items)",
        ),
        *(
            ({"content_types": ["image/png", wrong]}, "/content_types/1", "is invalid")
            for wrong in ("*/*", "image", "image/", "*/png", "image/png; a=b", "image/p*", 5, None)
        ),
        ({"content_types": ["image/png\x00"]}, "/content_types/0", "is invalid"),
        ({"content_types": ["image/\ud800"]}, "/content_types/0", "is invalid"),
        ({"\ud800\x00x": 1}, "/x", "is not a known limit"),
    ],
)
async def test_wrong_limits_are_refused_by_name(
    working: Service, limits: Any, pointer: str, detail: str
) -> None:
    answer = await create(working.client, limits)
    assert answer.status == 422, answer.body
    (error,) = answer.document["errors"]
    assert error["code"] == "invalid_attribute"
    assert error["source"]["pointer"] == f"data/meta/limits{pointer}"
    assert error["detail"] == detail


async def test_the_first_of_thousands_of_unknown_limits_are_reported(service: Service) -> None:
    answer = await create(service.client, {str(number): 1 for number in range(5000)})
    assert answer.status == 422
    pointers = [error["source"]["pointer"] for error in answer.document["errors"]]
    assert pointers == [f"data/meta/limits/{number}" for number in range(MAX_UNKNOWN)]


async def test_declared_values_must_be_within_the_limits(service: Service) -> None:
    limits = {"max_size": 10, "content_types": ["image/*", "application/pdf"]}
    answer = await create(
        service.client, limits, size=11, content_type="text/plain", attachable_id="x"
    )
    assert answer.status == 422
    size, content_type, other = answer.document["errors"]
    assert size["detail"] == "must be less than or equal to 10"
    assert size["source"]["pointer"] == "data/attributes/size"
    assert content_type["detail"] == "is not included in the list"
    assert content_type["meta"] == {
        "allow_nil": True,
        "value": "text/plain",
        "allowed": limits["content_types"],
    }
    assert content_type["source"]["pointer"] == "data/attributes/content_type"
    assert other["source"]["pointer"] == "data/attributes/attachable_id"
    document = await created(service.client, limits, size=10, content_type="Image/PNG; a=b")
    assert {"Content-Type": "Image/PNG; a=b"} in conditions(document)


async def test_the_store_refuses_larger_files(working: Service) -> None:
    content = photo()
    document = await created(working.client, {"max_size": len(content) - 1})
    status, body = await working.client.post_file(document, content)
    assert status == 400
    assert "EntityTooLarge" in body
    document = await created(working.client, {"max_size": len(content)})
    assert (await working.client.post_file(document, content))[0] == 201


@pytest.mark.parametrize("content", [b"plain text\n", b""], ids=["text", "empty"])
async def test_bytes_of_another_type_are_rejected_and_an_overwrite_is_judged_again(
    working: Service, content: bytes
) -> None:
    client = working.client
    document = await created(client, AVATAR)
    attachment_id = document["data"]["id"]
    assert (await client.post_file(document, content))[0] == 201
    resource = await client.settled(attachment_id)
    assert resource["meta"]["state"] == "rejected"
    assert resource["meta"]["reason"]["code"] == "type_not_allowed"
    assert not resource["attributes"]["resized"]
    async with aiohttp.ClientSession() as session:
        url = resource["attributes"]["url"]
        async with session.get(url, allow_redirects=False) as answer:
            assert "attachment" in answer.headers.get("Location", "attachment")
    assert (await client.post_file(document, photo()))[0] == 201
    resource = await client.settled(attachment_id)
    while resource["meta"]["state"] == "rejected":
        resource = await client.settled(attachment_id)
    assert resource["meta"]["state"] == "ready"
    assert resource["attributes"]["resized"]


async def test_an_object_larger_than_the_limit_is_rejected_however_it_came(
    working: Service,
) -> None:
    document = await created(working.client, {"max_size": 10})
    row = await working.row(document["data"]["id"])
    async with opened_storage(working.stack) as storage:
        await storage.write(row.key, b"x" * 11, content_type="text/plain")
    resource = await working.client.settled(row.id)
    assert resource["meta"]["reason"]["code"] == "too_large"


async def test_a_copy_must_be_within_the_limits(working: Service) -> None:
    key = "incoming/limits.txt"
    async with opened_storage(working.stack) as storage:
        await storage.write(key, b"x" * 11, content_type="text/plain")
    url = f"{working.settings.upload_url}/{key}"
    refused = await create(working.client, {"max_size": 10}, temp_url=url)
    assert refused.status == 422
    assert refused.document["errors"][0]["detail"] == "is too large (maximum is 10 bytes)"
    document = await created(working.client, {"max_size": 10})
    patch = {"data": {"type": "attachments", "attributes": {"temp_url": url}}}
    path = f"/api/v2/attachments/{document['data']['id']}"
    assert (await working.client.request("PATCH", path, patch)).status == 422
    document = await created(working.client, {"content_types": ["image/*"]}, temp_url=url)
    resource = await working.client.settled(document["data"]["id"])
    assert resource["meta"]["reason"]["code"] == "type_not_allowed"


async def test_the_policy_is_the_services_own_where_that_is_smaller_now(
    start_service: StartService,
) -> None:
    before = await start_service()
    document = await created(before.client, {"max_size": 100})
    row = await before.row(document["data"]["id"])
    assert row.max_bytes(50) == 50
    assert row.max_bytes(200) == 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    limits=st.fixed_dictionaries({}, optional={"max_size": JSON, "content_types": JSON}) | JSON,
    outer=JSON,
)
def test_any_limits_are_read_or_refused(limits: Any, outer: Any) -> None:
    item = {"meta": {"limits": limits}}
    document = {"data": item, "meta": {"limits": outer}}
    found, errors = find_limits(item, document, pointer="data", max_size=1000)
    json.dumps(errors)
    if not errors:
        assert found == NO_LIMITS or (found.max_size or 1) <= 1000
    if isinstance(limits, dict) and limits.keys() - {"max_size", "content_types"}:
        assert errors
