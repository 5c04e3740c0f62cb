"""Invalid headers: Content-Type, Accept and credentials."""

from collections.abc import Mapping

import pytest

from shared.tokens import list_tokens, revoke_token
from tests.data.bad_bodies import body_of
from tests.support.bad_requests import PATH, Target, assert_refused
from tests.support.service import MEDIA_TYPE, until


@pytest.mark.parametrize(
    ("method", "content_type"),
    [
        pytest.param("POST", f"{MEDIA_TYPE}; charset=klingon", id="row05-unknown-charset"),
        pytest.param("POST", "", id="row14-none"),
        pytest.param("PATCH", "application/json", id="row14-json"),
        pytest.param("PATCH", f"{MEDIA_TYPE}; ext=other", id="row15-other-extension"),
    ],
)
async def test_a_body_of_another_type_is_refused(
    untouched: Target, method: str, content_type: str
) -> None:
    path = PATH if method == "POST" else f"{PATH}/{untouched.mine}"
    answer = await untouched.client.request(
        method, path, body=body_of(), headers={"Content-Type": content_type}
    )
    assert_refused(answer, 415)


@pytest.mark.parametrize(
    ("method", "accept"),
    [
        pytest.param("GET", "text/html", id="row16-html"),
        pytest.param("POST", f"{MEDIA_TYPE};q=0", id="row16-q-0"),
        pytest.param("PATCH", f"{MEDIA_TYPE}; charset=utf-8", id="row16-charset"),
        pytest.param("DELETE", f"{MEDIA_TYPE}; ext=other", id="row16-other-extension"),
    ],
)
async def test_an_accept_that_cannot_be_met_is_refused(
    untouched: Target, method: str, accept: str
) -> None:
    path = PATH if method == "POST" else f"{PATH}/{untouched.mine}"
    body = body_of() if method in ("POST", "PATCH") else None
    answer = await untouched.client.request(method, path, body=body, headers={"Accept": accept})
    assert_refused(answer, 406)


CREDENTIALS: dict[str, Mapping[str, str]] = {
    "row33-none": {"X-Auth-Token": ""},
    "row33-garbage": {"X-Auth-Token": "garbage"},
    "row33-sql": {"X-Auth-Token": "' OR 1=1 --"},
    "row33-garbage-bearer": {"X-Auth-Token": "", "Authorization": "Bearer garbage"},
    "row33-empty-bearer": {"X-Auth-Token": "", "Authorization": "Bearer "},
    "row33-no-scheme": {"X-Auth-Token": "", "Authorization": "{token}"},
    "row33-basic": {"X-Auth-Token": "", "Authorization": "Basic {token}"},
    "row33-token-and-more": {"X-Auth-Token": "{token}x"},
    "row33-two-in-one": {"X-Auth-Token": "{token},{token}"},
    "row33-contradicting": {"Authorization": "Bearer garbage"},
    "row34-bearer-twice": {"X-Auth-Token": "", "Authorization": "Bearer Bearer {token}"},
    "row34-non-ascii": {"X-Auth-Token": "tøken"},
    "row34-non-ascii-bearer": {"X-Auth-Token": "", "Authorization": "Bearer tøken"},
    "row34-non-ascii-digits": {"X-Auth-Token": "١٢٣"},
}


@pytest.mark.parametrize("headers", CREDENTIALS.values(), ids=CREDENTIALS)
async def test_a_request_without_a_live_token_is_refused(
    untouched: Target, headers: Mapping[str, str]
) -> None:
    token = untouched.client.token
    sent = {name: value.replace("{token}", token) for name, value in headers.items()}
    for method, path in (
        ("GET", PATH),
        ("GET", f"{PATH}/{untouched.mine}"),
        ("DELETE", f"{PATH}/{untouched.mine}"),
    ):
        answer = await untouched.client.request(method, path, headers=sent)
        assert_refused(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    posted = await untouched.client.request("POST", PATH, body=body_of(), headers=sent)
    assert_refused(posted, 401)


@pytest.mark.parametrize(
    "organization",
    [
        pytest.param("", id="row33-no-organization"),
        pytest.param("999999999", id="row33-other-organization"),
        pytest.param("0{id}", id="row33-organization-with-zero"),
        pytest.param("{id}.0", id="row33-organization-as-fraction"),
        pytest.param("١", id="row33-organization-in-arabic-digits"),
    ],
)
async def test_a_token_opens_its_own_organization_only(
    untouched: Target, organization: str
) -> None:
    name = organization.replace("{id}", str(untouched.client.organization_id))
    answer = await untouched.client.request("GET", PATH, headers={"X-Organization-Id": name})
    assert_refused(answer, 403)


@pytest.mark.parametrize("end", ["row33-revoked", "row33-expired"])
async def test_a_token_that_has_ended_is_refused_at_once(target: Target, end: str) -> None:
    client = await target.service.organization("leaving")
    assert (await client.request("GET", PATH)).status == 200
    async with target.service.database.acquire() as connection:
        (token,) = await list_tokens(connection, client.organization_id)
        if end == "row33-revoked":
            await revoke_token(connection, token.id)
        else:
            await connection.execute("UPDATE tokens SET expires_at = now() WHERE id = $1", token.id)

    async def refused() -> bool:
        return (await client.request("GET", PATH)).status == 401

    await until(refused, within_s=2, every_s=0.01)
    assert_refused(await client.request("GET", PATH), 401)
