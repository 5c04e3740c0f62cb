"""Attachment ids that are malformed or unknown, or that belong to another organization."""

from urllib.parse import quote

import pytest

from tests.data.bad_bodies import body_of
from tests.support.bad_requests import PATH, Target, assert_refused

IDS: dict[str, str] = {
    "row24-arabic-digits": "{arabic}",
    "row24-full-width-digits": "%EF%BC%91",
    "row24-superscript": "%C2%B2",
    "row24-leading-zero": "0{id}",
    "row24-plus": "+{id}",
    "row24-encoded-plus": "%2B{id}",
    "row24-fraction": "{id}.0",
    "row24-exponent": "{id}e0",
    "row24-hexadecimal": "0x1",
    "row24-blank-before": "%20{id}",
    "row24-blank-after": "{id}%20",
    "row24-underscore": "1_0",
    "row24-two": "{id},{id}",
    "row24-text": "img.png",
    "row24-two-slashes-after": "{id}//",
    "row24-more-after": "{id}/relationships/task",
    "row25-2-to-the-63": str(2**63),
    "row25-2-to-the-64": str(2**64),
    "row25-id-plus-2-to-the-64": "{wrapped}",
    "row25-5000-digits": "1" * 5000,
    "row25-zero": "0",
    "row25-minus-one": "-1",
    "row25-negative": "-{id}",
    "row25-largest-id": str(2**63 - 1),
}


def path_of(pattern: str, attachment_id: str) -> str:
    """Return a path with an id inserted into its pattern."""
    arabic = attachment_id.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    return f"{PATH}/" + pattern.format(
        id=attachment_id, arabic=quote(arabic), wrapped=int(attachment_id) + 2**64
    )


@pytest.mark.parametrize("pattern", IDS.values(), ids=IDS)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_id_that_is_none_is_not_found(
    untouched: Target, method: str, pattern: str
) -> None:
    body = body_of() if method == "PATCH" else None
    answer = await untouched.client.request(method, path_of(pattern, untouched.mine), body=body)
    assert_refused(answer, 404)


@pytest.mark.parametrize(
    ("resource_id", "status"),
    [
        pytest.param('"{other}"', 409, id="row12-body-names-another-id"),
        pytest.param("{id}", 409, id="row12-body-id-is-a-number"),
        pytest.param('"0{id}"', 409, id="row12-body-id-with-zero"),
        pytest.param("null", 409, id="row12-body-id-null"),
    ],
)
async def test_a_body_that_names_another_id_is_a_conflict(
    untouched: Target, resource_id: str, status: int
) -> None:
    literal = resource_id.format(id=untouched.mine, other=untouched.theirs)
    body = f'{{"data":{{"type":"attachments","id":{literal},"attributes":{{"name":"b"}}}}}}'
    answer = await untouched.client.request("PATCH", f"{PATH}/{untouched.mine}", body=body.encode())
    assert_refused(answer, status)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        pytest.param("GET", None, id="row31-show"),
        pytest.param("PATCH", body_of(name="b.png"), id="row32-patch"),
        pytest.param("PATCH", body_of(temp_url="https://elsewhere/"), id="row32-patch-temp-url"),
        pytest.param("PATCH", body_of(attachable_type=""), id="row32-patch-with-fault"),
        pytest.param("DELETE", None, id="row32-delete"),
    ],
)
async def test_another_organizations_attachment_answers_as_a_missing_one(
    untouched: Target, method: str, body: bytes | None
) -> None:
    theirs = await untouched.client.request(method, f"{PATH}/{untouched.theirs}", body=body)
    missing = await untouched.client.request(method, f"{PATH}/{2**62}", body=body)
    assert_refused(theirs, 404)
    assert (theirs.status, theirs.body) == (missing.status, missing.body)


async def test_row31_a_list_holds_the_callers_own_only(untouched: Target) -> None:
    for query in ("", "?filter[comment_id]=3", "?filter[comment_id][not_eq]=999"):
        answer = await untouched.client.request("GET", PATH + query)
        assert [resource["id"] for resource in answer.data] == [untouched.mine]
