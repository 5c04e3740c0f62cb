"""The bad media types and bad bodies from the table of bad inputs in limits.md.

The tests in `tests/integration/bad_requests` send one case of each row to a running API.
"""

import pytest

from api.attributes import check_changes, check_identity, check_new, resource_object
from api.bodies import parse_json
from api.negotiation import check_accept, check_content_type
from api.problems import MEDIA_TYPE, Problem
from tests.data.bad_bodies import BODIES, MAX_SIZE, PATCHABLE, body_of
from tests.support.bodies import make_request, status_of
from tests.support.rows import attachment

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

CONTENT_TYPES = {
    "row05-unknown-charset": f"{MEDIA_TYPE}; charset=klingon",
    "row05-charset-with-nul": f"{MEDIA_TYPE}; charset=%00",
    "row14-none": "",
    "row14-json": "application/json",
    "row14-text": "text/plain",
    "row14-form": "application/x-www-form-urlencoded",
    "row14-multipart": "multipart/form-data; boundary=a",
    "row14-longer": f"{MEDIA_TYPE}x",
    "row14-no-type": "json",
    "row14-list": f"{MEDIA_TYPE}, {MEDIA_TYPE}",
    "row14-non-ascii": f"{MEDIA_TYPE}é",
    "row15-other-charset": f"{MEDIA_TYPE}; charset=iso-8859-1",
    "row15-q": f"{MEDIA_TYPE};q=1",
    "row15-version": f"{MEDIA_TYPE}; version=1.1",
    "row15-other-extension": f"{MEDIA_TYPE}; ext=other",
    "row15-two-extensions": f'{MEDIA_TYPE}; ext="bulk other"',
}


@pytest.mark.parametrize("content_type", CONTENT_TYPES.values(), ids=CONTENT_TYPES)
def test_a_body_of_another_type_is_415(content_type: str) -> None:
    with pytest.raises(Problem) as problem:
        check_content_type(make_request(("Content-Type", content_type)))
    assert status_of(problem) == 415


ACCEPTS = {
    "row16-html": "text/html",
    "row16-json": "application/json",
    "row16-image": "image/*",
    "row16-charset": f"{MEDIA_TYPE}; charset=utf-8",
    "row16-other-extension": f"{MEDIA_TYPE}; ext=other",
    "row16-q-0": f"{MEDIA_TYPE};q=0",
    "row16-all-but-wanted": "*/*;q=0.0",
    "row16-garbage": "?",
}


@pytest.mark.parametrize("accept", ACCEPTS.values(), ids=ACCEPTS)
def test_an_accept_that_cannot_be_met_is_406(accept: str) -> None:
    with pytest.raises(Problem) as problem:
        check_accept(make_request(("Accept", accept)))
    assert status_of(problem) == 406


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("", id="none"),
        pytest.param(" , ", id="an empty list"),
        pytest.param(f"{MEDIA_TYPE}, application/json", id="the media type and another"),
        pytest.param(BROWSER, id="a browser's default"),
        pytest.param(f"text/html, {MEDIA_TYPE};q=0.1", id="reluctantly"),
    ],
)
def test_a_lenient_accept_is_met(accept: str) -> None:
    check_accept(make_request(("Accept", accept)))


def status_of_create(body: bytes) -> int:
    """Return the status of the answer to a create request with this body.

    The status is 201 if the body is valid.
    """
    try:
        attributes = check_identity(resource_object(parse_json(body)), attachment_id=None)
    except Problem as problem:
        return problem.status
    return 422 if check_new(attributes, max_size=MAX_SIZE)[1] else 201


def status_of_change(body: bytes) -> int:
    """Return the status of the answer to a PATCH request with this body.

    The status is 200 if the body is valid.
    """
    row = attachment()
    try:
        attributes = check_identity(resource_object(parse_json(body)), attachment_id=row.id)
    except Problem as problem:
        return problem.status
    return 422 if check_changes(attributes, max_size=MAX_SIZE, row=row)[1] else 200


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
def test_a_bad_body_makes_no_attachment(body: bytes, status: int) -> None:
    assert status_of_create(body) == status


@pytest.mark.parametrize(("body", "status"), PATCHABLE.values(), ids=PATCHABLE)
def test_a_bad_body_changes_no_attachment(body: bytes, status: int) -> None:
    assert status_of_change(body) == status


def test_a_body_without_fault_is_taken() -> None:
    assert status_of_create(body_of()) == 201
    assert status_of_change(body_of()) == 200
