"""The routes of webhooks and deliveries: their answers and the required permissions."""

from typing import Any

import pytest
import pytest_asyncio

from shared.webhooks.kinds import EVENTS
from tests.support.receiver import PATH, SETTINGS
from tests.support.resources import NOT_FOUND
from tests.support.service import Answer, Client, Service, some_at_once
from tests.support.starting import StartService

URL = "https://receiver.example/hook"


@pytest_asyncio.fixture
async def service(start_service: StartService) -> Service:
    """Start an API whose settings allow webhooks to the tests' receivers."""
    return await start_service(**SETTINGS)


async def post(client: Client, **attributes: Any) -> Answer:
    """Send a request that creates a webhook."""
    document = {"data": {"type": "webhooks", "attributes": attributes}}
    return await client.request("POST", PATH, document)


async def test_a_webhook_is_made_shown_changed_and_deleted(service: Service) -> None:
    client = service.client
    made = await post(client, target_url=URL, description="mine")
    assert made.status == 201
    secret = made.data["attributes"].pop("secret")
    assert secret.startswith("whsec_")
    assert made.headers["Location"].endswith(f"{PATH}/{made.data['id']}")
    place = f"{PATH}/{made.data['id']}"
    assert made.data["attributes"] == {
        "target_url": URL,
        "events": list(EVENTS),
        "description": "mine",
        "active": True,
        "created_at": made.data["attributes"]["created_at"],
    }
    assert made.data["meta"] == {
        "failing_since": None,
        "deactivated": None,
        "previous_secret_ends_at": None,
    }
    shown = await client.request("GET", place)
    assert shown.data == made.data
    listed = await client.request("GET", PATH)
    assert listed.document == {
        "data": [made.data],
        "meta": {"total_count": 1, "max_count": 20},
    }
    changes = {"events": ["attachment.ready"], "active": False, "description": ""}
    changed = await client.request(
        "PATCH", place, {"data": {"type": "webhooks", "attributes": changes}}
    )
    assert changed.status == 200
    assert changed.data["attributes"] == {
        **made.data["attributes"],
        "events": ["attachment.ready"],
        "active": False,
        "description": None,
    }
    rotated = await client.request("POST", f"{place}/secret")
    assert rotated.data["attributes"]["secret"] not in ("", secret)
    assert (await client.request("DELETE", place)).status == 204
    for method, path in (("GET", place), ("DELETE", place), ("POST", f"{place}/secret")):
        gone = await client.request(method, path)
        assert (gone.status, gone.document) == (404, NOT_FOUND)


async def test_secrets_are_encrypted_in_the_database(service: Service) -> None:
    made = await post(service.client, target_url=URL)
    secret = made.data["attributes"]["secret"].removeprefix("whsec_").encode()
    stored = await service.database.fetchval("SELECT secret FROM webhooks")
    assert secret not in stored
    vault = service.settings.vault
    assert vault is not None
    assert vault.decrypt(stored).encode() == b"whsec_" + secret


@pytest.mark.parametrize("scope", ["read", "write"])
async def test_only_a_token_with_admin_manages_webhooks(service: Service, scope: str) -> None:
    made = await post(service.client, target_url=URL)
    await service.execute("UPDATE tokens SET scope = $1", scope)
    for path in (PATH, f"{PATH}/{made.data['id']}", f"{PATH}/{made.data['id']}/deliveries"):
        assert (await service.client.request("GET", path)).status == 403
    assert (await post(service.client, target_url=URL)).status == 403


async def test_row90_webhooks_and_deliveries_of_another_organization_are_missing(
    service: Service,
) -> None:
    made = await post(service.client, target_url=URL)
    place = f"{PATH}/{made.data['id']}"
    queued = await service.client.request("POST", f"{place}/test")
    delivery = f"{place}/deliveries/{queued.data['id']}"
    other = await service.organization()
    own = await post(other, target_url=URL)
    borrowed = f"{PATH}/{own.data['id']}/deliveries/{queued.data['id']}"
    since = {"data": {"type": "webhook_deliveries", "attributes": {"since": "2020-01-01"}}}
    change = {"data": {"type": "webhooks", "attributes": {"active": False}}}
    requests: list[tuple[str, str, Any]] = [
        ("GET", place, None),
        ("PATCH", place, change),
        ("DELETE", place, None),
        ("POST", f"{place}/secret", None),
        ("POST", f"{place}/test", None),
        ("GET", f"{place}/deliveries", None),
        ("GET", delivery, None),
        ("POST", f"{delivery}/retry", None),
        ("POST", f"{place}/deliveries/retry", since),
        ("GET", borrowed, None),
        ("POST", f"{borrowed}/retry", None),
        *(("GET", f"{PATH}/{each}", None) for each in ("0", "01", "-1", "x", str(2**63))),
    ]
    for method, path, document in requests:
        answer = await other.request(method, path, document)
        assert (answer.status, answer.document) == (404, NOT_FOUND), (method, path)
    assert (await service.client.request("GET", place)).data["attributes"]["active"]


BAD: dict[str, list[Any]] = {
    "target_url": [
        None,
        "",
        7,
        [URL],
        "receiver.example",
        "ftp://receiver.example/",
        "https://",
        "https:///hook",
        "https://receiver.example:99999/",
        "https://user:secret@receiver.example/",
        "https://receiver.example/#part",
        "https://receiver.example/a b",
        "https://receiver.example/\r\nx: y",
        "https://receiver.example/\ud800",
        "https://receiver.example/" + "x" * 2048,
    ],
    "events": [
        None,
        [],
        "attachment.ready",
        {},
        [7],
        ["attachment.made"],
        ["attachment.ready"] * 99,
    ],
    "active": [None, 1, "true", []],
    "description": [7, True, [], "x" * 256, "a\x00b"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD.items() for value in values],
    ids=lambda each: repr(each)[:40].encode("ascii", "replace").decode(),
)
async def test_row91_wrong_attributes_are_refused_by_name(
    service: Service, name: str, value: Any
) -> None:
    answer = await post(service.client, **{"target_url": URL, name: value})
    assert answer.status == 422
    assert [each["source"]["pointer"] for each in answer.document["errors"]] == [
        f"data/attributes/{name}"
    ]
    assert await service.database.fetchval("SELECT count(*) FROM webhooks") == 0


async def test_row91_all_faults_are_reported_at_once(service: Service) -> None:
    answer = await post(service.client, events=[], active=1, description=7)
    pointers = [each["source"]["pointer"] for each in answer.document["errors"]]
    assert pointers == [f"data/attributes/{name}" for name in BAD]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filter[state]=lost", 400),
        ("filter[event]=x", 400),
        ("sort=id", 400),
        ("page[number]=1", 400),
        ("page[size]=0", 400),
        ("page[size]=201", 400),
        ("page[after]=x", 400),
        ("wait=1", 400),
        ("filter[state]=failed&page[size]=200&page[after]=", 200),
    ],
)
async def test_row91_parameters_of_deliveries_are_checked(
    service: Service, query: str, status: int
) -> None:
    made = await post(service.client, target_url=URL)
    answer = await service.client.request("GET", f"{PATH}/{made.data['id']}/deliveries?{query}")
    assert answer.status == status


@pytest.mark.parametrize(
    "since", [None, "", 7, "yesterday", "2026-13-01", "9999-12-31T23:59:59-23:59", "2026-1-1"]
)
async def test_row91_a_time_that_is_none_is_refused(service: Service, since: Any) -> None:
    made = await post(service.client, target_url=URL)
    document = {"data": {"type": "webhook_deliveries", "attributes": {"since": since}}}
    path = f"{PATH}/{made.data['id']}/deliveries/retry"
    assert (await service.client.request("POST", path, document)).status == 422


async def test_row92_an_organization_has_at_most_twenty_webhooks(service: Service) -> None:
    made = await some_at_once(post(service.client, target_url=URL) for _ in range(30))
    assert sorted(each.status for each in made) == [201] * 20 + [422] * 10
    refused = next(each for each in made if each.status == 422)
    assert refused.document["errors"][0]["meta"] == {"quota": "webhooks", "limit": 20}
    other = await service.organization()
    assert (await post(other, target_url=URL)).status == 201


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a00:1]",
        "[64:ff9b:1::a00:1]",
        "[2002:a00:1::1]",
        "2130706433",
        "0x7f000001",
        "127.1",
        "10.0.0.1.",
    ],
)
async def test_row93_a_private_address_is_refused_in_any_notation(
    service: Service, host: str
) -> None:
    answer = await post(service.client, target_url=f"https://{host}/hook")
    assert answer.status == 422
    assert answer.document["errors"][0]["detail"] in ("must lead to a public address", "is invalid")


async def test_row93_http_and_loopback_are_refused_unless_the_settings_allow_them(
    start_service: StartService,
) -> None:
    strict = {**SETTINGS, "webhook_allow_http": "false", "webhook_networks": ""}
    service = await start_service(**strict)
    for url in ("http://receiver.example/", "https://127.0.0.1/", "https://localhost/"):
        assert (await post(service.client, target_url=url)).status == 422


@pytest.mark.parametrize(
    ("missing", "named"),
    [("api_url", "ATTACHMENTS_API_URL"), ("webhook_secret", "ATTACHMENTS_WEBHOOK_SECRET")],
)
async def test_row94_a_webhook_is_refused_with_the_missing_setting(
    start_service: StartService, missing: str, named: str
) -> None:
    service = await start_service(**{**SETTINGS, missing: ""})
    answer = await post(service.client, target_url=URL)
    assert answer.status == 422
    (error,) = answer.document["errors"]
    assert error["code"] == "not_configured"
    assert named in error["detail"]


async def test_deliveries_are_walked_by_cursor_newest_first(service: Service) -> None:
    made = await post(service.client, target_url=URL)
    place = f"{PATH}/{made.data['id']}"
    queued = [(await service.client.request("POST", f"{place}/test")).data["id"] for _ in range(5)]
    seen: list[str] = []
    path: str | None = f"{place}/deliveries?page[size]=2&filter[state]=pending"
    while path is not None:
        answer = await service.client.request("GET", path)
        seen += [each["id"] for each in answer.data]
        following = answer.document["links"]["next"]
        path = following and following.removeprefix("https://attachments.example")
    assert seen == queued[::-1]
    shown = await service.client.request("GET", f"{place}/deliveries/{seen[0]}")
    assert shown.data["attributes"]["state"] == "pending"
    assert shown.data["relationships"] == {
        "webhook": {"data": {"type": "webhooks", "id": made.data["id"]}},
        "attachment": {"data": None},
    }
