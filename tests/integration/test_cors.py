"""CORS: web pages of the allowed origins may read answers; all other pages may not."""

from collections.abc import Mapping

import pytest

from tests.data.images import gradient_photo
from tests.support.resources import NOT_FOUND, PATH, is_error
from tests.support.service import Answer, Service
from tests.support.starting import StartService

PAGE = "https://app.example"
STRANGER = "https://evil.example"
ORIGINS = f"{PAGE},http://localhost:*"
ANONYMOUS = {"X-Auth-Token": "", "X-Organization-Id": ""}
READABLE = (
    "Content-Length, ETag, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After,"
    " X-Request-Id"
)


def cors(answer: Answer) -> dict[str, str]:
    """Return the CORS headers of an answer."""
    return {
        name.lower(): value
        for name, value in answer.headers.items()
        if name.lower().startswith("access-control-")
    }


def varies_by_origin(answer: Answer) -> bool:
    """Return True if the answer tells caches that it depends on the origin."""
    return "Origin" in answer.headers.get("Vary", "").split(", ")


async def ask(
    service: Service,
    method: str,
    path: str,
    origin: str | None,
    headers: Mapping[str, str] = ANONYMOUS,
) -> Answer:
    """Send a request as a web page of this origin does."""
    sent = dict(headers) if origin is None else {**headers, "Origin": origin}
    return await service.client.request(method, path, headers=sent)


async def preflight(service: Service, path: str, origin: str, method: str = "POST") -> Answer:
    """Send a preflight request, as a browser does."""
    asked = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-auth-token,x-organization-id",
    }
    return await ask(service, "OPTIONS", path, origin, {**ANONYMOUS, **asked})


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        f"{PATH}/",
        f"{PATH}/1",
        f"{PATH}/1/aws_policy",
        "/api/v2/usage",
        "/api/v2/webhooks",
        "/attachments/files/000/000/001/original/a.png?1&s=x",
        "/attachments/status/1?1&e=2&s=x",
    ],
)
async def test_a_preflight_of_an_allowed_origin_is_answered(
    start_service: StartService, path: str
) -> None:
    service = await start_service(cors_origins=ORIGINS)

    answer = await preflight(service, path, PAGE)

    assert (answer.status, answer.body) == (204, b"")
    assert cors(answer) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, HEAD, POST, PATCH, DELETE",
        "access-control-allow-headers": (
            "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer,"
            " Range, Traceparent, Tracestate, X-Auth-Token, X-Organization-Id, X-Request-Id"
        ),
        "access-control-max-age": "7200",
        "access-control-expose-headers": READABLE,
    }
    assert varies_by_origin(answer)
    stranger = await preflight(service, path, STRANGER)
    assert stranger.status in (404, 405)
    assert not cors(stranger)
    assert varies_by_origin(stranger)


async def test_answers_and_refusals_are_shared_with_an_allowed_origin(
    start_service: StartService,
) -> None:
    service = await start_service(cors_origins=ORIGINS)
    created = await service.client.create()
    attachment_id = created["data"]["id"]
    expected = {
        "access-control-allow-origin": "http://localhost:5173",
        "access-control-expose-headers": READABLE,
    }
    status_path = created["meta"]["status_url"].removeprefix(service.base_url)
    known: Mapping[str, str] = {}
    for path, headers, status in (
        (f"{PATH}/{attachment_id}", known, 200),
        (PATH, known, 200),
        (f"{PATH}/{attachment_id}", ANONYMOUS, 401),
        (f"{PATH}/99", known, 404),
        ("/api/v2/nothing", known, 404),
        (f"{PATH}?filter[x]=1", known, 400),
        (status_path, ANONYMOUS, 200),
        (f"{status_path}x", ANONYMOUS, 404),
    ):
        answer = await ask(service, "GET", path, "http://localhost:5173", headers)
        assert answer.status == status, path
        assert cors(answer) == expected, path
        assert varies_by_origin(answer), path
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "X-Auth-Token" in answer.headers["Vary"]


async def test_an_unchanged_attachment_is_shared_too(start_service: StartService) -> None:
    service = await start_service(cors_origins=ORIGINS)
    path = f"{PATH}/{(await service.client.create())['data']['id']}"
    shown = await ask(service, "GET", path, PAGE, {})

    answer = await ask(service, "GET", path, PAGE, {"If-None-Match": shown.headers["ETag"]})

    assert answer.status == 304
    assert cors(answer) == cors(shown)
    assert cors(answer)["access-control-allow-origin"] == PAGE
    assert varies_by_origin(answer)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        STRANGER,
        "null",
        "https://app.example.evil.example",
        "http://app.example",
        "https://APP.EXAMPLE",
        "http://localhost:5173.evil.example",
        "http://127.0.0.1:5173",
        "*",
        "\u00e9" * 2000,
    ],
    ids=ascii,
)
async def test_row108_other_origins_are_answered_without_headers_of_cors(
    start_service: StartService, origin: str | None
) -> None:
    service = await start_service(cors_origins=ORIGINS)
    created = await service.client.create()
    status_path = created["meta"]["status_url"].removeprefix(service.base_url)

    for path, headers in ((status_path, ANONYMOUS), (f"{PATH}/{created['data']['id']}", {})):
        answer = await ask(service, "GET", path, origin, headers)
        assert answer.status == 200
        assert not cors(answer)
        assert varies_by_origin(answer)


async def test_row108_two_origins_are_none(start_service: StartService) -> None:
    service = await start_service(cors_origins=ORIGINS)

    async with service.client.session.get(
        f"{service.base_url}{PATH}", headers=[("Origin", PAGE), ("Origin", PAGE)]
    ) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_without_the_setting_there_is_no_cors(service: Service) -> None:
    answer = await ask(service, "GET", PATH, PAGE, {})
    assert answer.status == 200
    assert not cors(answer)
    assert not varies_by_origin(answer)

    refused = await preflight(service, PATH, PAGE)
    assert refused.status == 405
    assert not cors(refused)


@pytest.mark.parametrize("path", ["/events/s3", "/health/ready", "/health/live"])
async def test_events_and_health_are_not_for_pages(start_service: StartService, path: str) -> None:
    service = await start_service(cors_origins=ORIGINS)

    assert not cors(await ask(service, "GET", path, PAGE))
    assert not cors(await preflight(service, path, PAGE))


async def test_an_options_that_is_no_preflight_is_answered_as_before(
    start_service: StartService,
) -> None:
    service = await start_service(cors_origins=ORIGINS)

    answer = await ask(service, "OPTIONS", PATH, PAGE)

    assert answer.status == 405
    assert answer.headers["Allow"]


async def test_a_redirect_to_a_file_is_shared(start_service: StartService) -> None:
    service = await start_service(cors_origins=ORIGINS)
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now() WHERE id = $1", int(attachment_id)
    )
    url = (await service.client.show(attachment_id))["attributes"]["url"]
    path = url.removeprefix(service.base_url)

    answer = await ask(service, "GET", path, PAGE)
    assert answer.status == 302
    assert cors(answer)["access-control-allow-origin"] == PAGE
    assert answer.headers["Vary"] == "Origin"
    assert answer.headers["Cache-Control"].startswith("private, max-age=")
    # The redirect leads to another origin, so browsers send the origin "null" to the store.
    async with service.client.session.get(
        answer.headers["Location"], headers={"Origin": "null"}
    ) as file:
        assert file.status == 200
        assert file.headers["Access-Control-Allow-Origin"] in ("*", "null")

    plain = await ask(service, "GET", path, None)
    assert not cors(plain)
    assert plain.headers["Vary"] == "Origin"
    assert is_error(await ask(service, "GET", f"{path}x", PAGE), NOT_FOUND)


async def test_the_embedded_store_lets_pages_upload(service: Service) -> None:
    created = await service.client.create()
    url, page = created["meta"]["upload_url"], "http://localhost:5173"
    asked = {"Origin": page, "Access-Control-Request-Method": "POST"}
    async with service.client.session.options(url, headers=asked) as answer:
        assert answer.status in (200, 204)
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", page)
        assert {"*", "POST"} & set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    async with service.client.session.post(url, data=b"", headers={"Origin": page}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", page)
