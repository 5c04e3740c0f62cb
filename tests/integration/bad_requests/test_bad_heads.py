"""Raw request heads that are malformed, ambiguous or too large."""

import asyncio

import pytest

from tests.data.bad_bodies import body_of
from tests.support.bad_requests import BODY, LENGTH, PATH, Target, assert_refused, exchange, post
from tests.support.service import until
from tests.support.starting import StartService


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param(b"/api/v2/attachments/%00", 404, id="row26-nul"),
        pytest.param(b"/api/v2/attachments/{id}%00", 404, id="row26-nul-after-id"),
        pytest.param(b"/api/v2/attachments/{id}%0d%0a", 404, id="row26-crlf"),
        pytest.param(b"/api/v2/attachments/{id}%0d%0aSet-Cookie:a", 404, id="row26-crlf-header"),
        pytest.param(b"/api/v2/attachments/%zz", 404, id="row26-bad-escape"),
        pytest.param(b"/api/v2/attachments/{id}%zz", 404, id="row26-bad-escape-after-id"),
        pytest.param(b"/api/v2/attachments/{id}%", 404, id="row26-lone-percent"),
        pytest.param(b"/api/v2/attachments/%ff", 404, id="row26-no-utf-8"),
        pytest.param(b"/api/v2/attachments/%ed%a0%80", 404, id="row26-surrogate"),
        pytest.param(b"/api/v2/attachments/..%2f..%2fmetrics", 404, id="row26-climbing"),
        pytest.param(b"/api/v2/attachments/%2e%2e", 404, id="row26-dots"),
        pytest.param(b"/api/v2%2fattachments", 404, id="row26-encoded-slash"),
        pytest.param(b"/api/v2//attachments", 404, id="row26-double-slash"),
        pytest.param(b"/attachments/files/%00?1", 404, id="row26-file-nul"),
        pytest.param(b"/attachments/files/..%2f..%2f?1&s=a", 404, id="row26-file-climbing"),
        pytest.param(b"/attachments/files/%zz?%zz&s=%ff&e=%C2%B2", 404, id="row26-file-signature"),
        pytest.param(b"/api/v2/attachments/\xff", 400, id="row26-raw-byte"),
        pytest.param(b"/", 404, id="row26-root"),
        pytest.param(b"//", 404, id="row26-two-slashes"),
        pytest.param(b"*", 400, id="row26-asterisk"),
        pytest.param(b"http://[/api/v2/attachments", 400, id="row26-no-address"),
        pytest.param(b"http://a:b@c:99999999/api/v2/attachments", 400, id="row26-no-port"),
    ],
)
async def test_a_path_that_is_none_of_ours_is_not_found(
    untouched: Target, path: bytes, status: int
) -> None:
    answer = await exchange(untouched, b"GET " + path + b" HTTP/1.1\r\n{auth}\r\n")
    assert_refused(answer, status)


TWO_TOKENS = b"X-Auth-Token: a\r\nX-Auth-Token: b\r\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(b"{host}Authorization: Bearer a\r\n" * 1, 401, id="row34-one-garbage"),
        pytest.param(
            b"{host}Authorization: Bearer a\r\nAuthorization: Bearer a\r\n",
            401,
            id="row34-header-twice",
        ),
        pytest.param(b"{host}" + TWO_TOKENS, 401, id="row34-two-tokens"),
        pytest.param(b"{auth}X-Auth-Token: b\r\n", 401, id="row34-a-token-and-a-good-one"),
        pytest.param(b"{host}X-Auth-Token: \xff\xfe\r\n", 401, id="row34-raw-bytes"),
        pytest.param(b"{auth}X-Organization-Id: 1\r\n", 403, id="row34-two-organizations"),
        pytest.param(b"{auth}Host: evil.example\r\n", 400, id="row34-two-hosts"),
    ],
)
async def test_credentials_that_can_be_read_two_ways_are_refused(
    untouched: Target, headers: bytes, status: int
) -> None:
    answer = await exchange(untouched, b"GET /api/v2/attachments HTTP/1.1\r\n" + headers + b"\r\n")
    # aiohttp's parser refuses two Host fields before it checks the other fields.
    assert_refused(answer, status)


@pytest.mark.parametrize(
    "host",
    [b"\xff\xfe", b"a b", b"a/b", b"a\tb", b"<script>", b"user@host", b"host:port", b"", b"[::1"],
)
async def test_row17_a_host_that_is_none_gets_into_no_link(untouched: Target, host: bytes) -> None:
    auth = (
        f"X-Auth-Token: {untouched.client.token}\r\n"
        f"X-Organization-Id: {untouched.client.organization_id}\r\n"
    ).encode()
    for request in (
        b"GET /api/v2/attachments HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (host, auth),
        b"POST /api/v2/attachments HTTP/1.1\r\nHost: %s\r\n%sContent-Type: "
        b"application/vnd.api+json\r\nContent-Length: %d\r\n\r\n%s"
        % (host, auth, len(body_of()), body_of()),
    ):
        assert_refused(await exchange(untouched, request), 400)


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        pytest.param(
            b"GET /api/v2/attachments?sort=" + b"a" * 20_480 + b" HTTP/1.1\r\n{auth}\r\n",
            (400, 414),
            id="row42-20-kb-url",
        ),
        pytest.param(
            b"GET /api/v2/attachments HTTP/1.1\r\n{auth}X-A: " + b"a" * 20_480 + b"\r\n\r\n",
            (400, 431),
            id="row42-20-kb-header",
        ),
        pytest.param(
            b"GET /api/v2/attachments HTTP/1.1\r\n{auth}" + b"a" * 20_480 + b": a\r\n\r\n",
            (400, 431),
            id="row42-20-kb-header-name",
        ),
        pytest.param(
            b"GET /api/v2/attachments HTTP/1.1\r\n{auth}"
            + b"".join(b"X-%d: a\r\n" % number for number in range(200))
            + b"\r\n",
            (200, 400, 431),
            id="row42-200-headers",
        ),
        pytest.param(
            b"GET /api/v2/attachments HTTP/1.1\r\n{auth}"
            + b"".join(b"X-%d: a\r\n" % number for number in range(20_000))
            + b"\r\n",
            (400, 431),
            id="row42-20000-headers",
        ),
    ],
)
async def test_too_much_of_a_head_is_refused(
    untouched: Target, request_bytes: bytes, statuses: tuple[int, ...]
) -> None:
    answer = await exchange(untouched, request_bytes)
    assert answer.status in statuses
    if answer.status != 200:
        assert_refused(answer, answer.status)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("PUT", PATH, {"GET", "HEAD", "POST"}, id="row44-put-list"),
        pytest.param("DELETE", PATH, {"GET", "HEAD", "POST"}, id="row44-delete-list"),
        pytest.param("PATCH", PATH, {"GET", "HEAD", "POST"}, id="row44-patch-list"),
        pytest.param("OPTIONS", PATH, {"GET", "HEAD", "POST"}, id="row44-options-list"),
        pytest.param(
            "POST", f"{PATH}/{{id}}", {"GET", "HEAD", "PATCH", "DELETE"}, id="row44-post-one"
        ),
        pytest.param(
            "PUT", f"{PATH}/{{id}}", {"GET", "HEAD", "PATCH", "DELETE"}, id="row44-put-one"
        ),
        pytest.param("GET", "/events/s3", {"POST"}, id="row44-get-events"),
        pytest.param("GET", "/events/s3/token", {"POST"}, id="row44-get-events-token"),
        pytest.param("POST", "/attachments/files/a", {"GET", "HEAD"}, id="row44-post-file"),
        pytest.param("TRACE", PATH, {"GET", "HEAD", "POST"}, id="row44-trace-list"),
        pytest.param(
            "TRACE", f"{PATH}/{{id}}", {"GET", "HEAD", "PATCH", "DELETE"}, id="row44-trace-one"
        ),
        pytest.param("PROPFIND", PATH, {"GET", "HEAD", "POST"}, id="row44-propfind"),
    ],
)
async def test_a_wrong_method_is_refused(
    untouched: Target, method: str, path: str, allowed: set[str]
) -> None:
    answer = await exchange(
        untouched, f"{method} {path} HTTP/1.1\r\n".encode() + b"{auth}X-Secret: 1\r\n\r\n"
    )
    assert_refused(answer, 405)
    assert set(answer.headers["Allow"].split(",")) == allowed
    assert b"X-Secret" not in answer.body


async def test_row44_connect_is_refused(untouched: Target) -> None:
    answer = await exchange(untouched, b"CONNECT internal:443 HTTP/1.1\r\n{auth}\r\n")
    assert answer.status in (400, 404, 405)
    assert_refused(answer, answer.status)


async def test_an_unknown_expectation_is_refused(untouched: Target) -> None:
    request = post(LENGTH, b"Expect: <script>", body=BODY)
    assert_refused(await exchange(untouched, request), 417)


async def test_bytes_that_cannot_be_parsed_are_not_logged(
    untouched: Target, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = b"sesame-of-the-test"
    await exchange(untouched, post(b"X-Auth-Token : " + secret, LENGTH, body=BODY), closes=True)
    assert secret.decode() not in caplog.text
    assert secret.decode() not in "".join(capsys.readouterr())


async def test_row45_a_burst_over_the_quota_gets_429(start_service: StartService) -> None:
    service = await start_service(rate_limit="5")
    other = await service.organization()
    answers = await asyncio.gather(*(service.client.request("GET", PATH) for _ in range(12)))
    refused = [answer for answer in answers if answer.status != 200]
    # The limit is five requests per second. The requests may take so long that a sixth one is
    # allowed.
    assert len(answers) - len(refused) in (5, 6)
    for answer in refused:
        assert_refused(answer, 429)
        assert int(answer.headers["Retry-After"]) >= 1
    # One organization's rate limit does not affect another organization.
    assert (await other.request("GET", PATH)).status == 200

    async def admitted() -> bool:
        return (await service.client.request("GET", PATH)).status == 200

    await until(admitted, within_s=2)
