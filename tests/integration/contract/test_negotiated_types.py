"""Tests of the contract: media types that a running API accepts and sends.

There is one case for each rule. tests/unit/test_negotiation.py and
tests/unit/test_refused_requests.py test all cases.
"""

import pytest

from tests.support.resources import PATH, body, is_error, problem
from tests.support.service import MEDIA_TYPE, Client

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
NOT_ACCEPTABLE = problem(406, "Not Acceptable", "The request was not accepted")
UNSUPPORTED = problem(415, "Unsupported Media Type", "Unsupported content type")


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("", id="none"),
        pytest.param(BROWSER, id="a browser's default"),
    ],
)
async def test_accept_is_lenient(client: Client, accept: str) -> None:
    answer = await client.request("GET", PATH, headers={"Accept": accept})

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"


@pytest.mark.parametrize(
    ("method", "accept"),
    [
        pytest.param("GET", "application/json", id="JSON"),
        pytest.param("POST", "text/html", id="something else"),
        pytest.param("PATCH", f"{MEDIA_TYPE}; charset=utf-8", id="a parameter"),
        pytest.param("DELETE", f"{MEDIA_TYPE}; q=0", id="not at all"),
    ],
)
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
    ("method", "content_type"),
    [
        pytest.param("POST", "multipart/form-data; boundary=x", id="a form"),
        pytest.param("PATCH", f"{MEDIA_TYPE}; version=1", id="another parameter"),
    ],
)
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
        pytest.param("Application/Vnd.API+JSON", id="in capitals"),
        pytest.param(f"{MEDIA_TYPE}; charset=utf-8", id="the charset that HTTP stacks add"),
    ],
)
async def test_a_body_of_the_media_type_is_taken(client: Client, content_type: str) -> None:
    answer = await client.request(
        "POST", PATH, body({"name": "a"}), headers={"Content-Type": content_type}
    )

    assert answer.status == 201
