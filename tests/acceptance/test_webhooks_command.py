"""`attachments webhooks`: how operators manage webhooks and their deliveries."""

import json

import pytest
import pytest_asyncio

from tests.support.commands import command
from tests.support.receiver import PATH, SETTINGS
from tests.support.service import Service
from tests.support.starting import StartService

URL = "https://receiver.example/hook"


@pytest_asyncio.fixture
async def service(start_service: StartService) -> Service:
    """Start a service whose settings allow webhooks."""
    return await start_service(**SETTINGS)


async def test_a_webhook_is_made_listed_changed_and_removed(service: Service) -> None:
    ours = ("--organization", str(service.client.organization_id))
    made = await command(service, "webhooks", "create", URL, *ours, "--json")
    assert made.status == 0, made.err
    created = json.loads(made.out)
    webhook_id, secret = str(created["id"]), created["secret"]
    assert secret.startswith("whsec_")
    listed = await command(service, "webhooks", "list", *ours)
    assert URL in listed.out
    assert secret not in listed.out
    rotated = await command(service, "webhooks", "rotate", webhook_id, *ours)
    assert rotated.out.strip() not in ("", secret)
    assert (await command(service, "webhooks", "test", webhook_id, *ours)).status == 0
    found = await command(service, "webhooks", "deliveries", webhook_id, *ours, "--json")
    (delivery,) = json.loads(found.out)
    assert (delivery["event"], delivery["state"]) == ("webhook.test", "pending")
    one = ("webhooks", "deliveries", webhook_id, *ours, "--json", "--delivery")
    assert json.loads((await command(service, *one, str(delivery["id"]))).out) == [delivery]
    absent = await command(service, *one, str(delivery["id"] + 1))
    assert (absent.status, "has no delivery" in absent.err) == (1, True)
    again = await command(
        service, "webhooks", "retry", webhook_id, *ours, "--delivery", str(delivery["id"])
    )
    assert again.out == f"{webhook_id}: 1 due now\n"
    stopped = await command(
        service,
        "webhooks",
        "update",
        webhook_id,
        *ours,
        "--inactive",
        "--event",
        "attachment.ready",
        "--description",
        "for the tests",
    )
    assert stopped.status == 0
    alone = await command(service, "webhooks", "show", webhook_id, *ours, "--json")
    (row,) = json.loads(alone.out)
    assert (row["id"], row["description"]) == (int(webhook_id), "for the tests")
    assert secret not in alone.out
    assert "for the" in (await command(service, "webhooks", "show", webhook_id, *ours)).out
    shown = json.loads((await command(service, "webhooks", "list", *ours, "--json")).out)
    assert [(each["active"], each["events"]) for each in shown] == [(False, ["attachment.ready"])]
    assert (await command(service, "webhooks", "test", webhook_id, *ours)).status == 1
    assert (await command(service, "webhooks", "delete", webhook_id, *ours)).status == 0
    assert (await command(service, "webhooks", "delete", webhook_id, *ours)).status == 1


async def test_the_api_takes_every_description_that_a_command_stores(service: Service) -> None:
    ours = ("--organization", str(service.client.organization_id))
    made = await command(service, "webhooks", "create", URL, *ours, "--description", "", "--json")
    webhook_id = str(json.loads(made.out)["id"])

    for given, stored in ((None, None), ("x" * 255, "x" * 255), (" ", None)):
        if given is not None:
            change = ("update", webhook_id, *ours, "--description", given)
            assert (await command(service, "webhooks", *change)).status == 0
        shown = (await service.client.request("GET", f"{PATH}/{webhook_id}")).data
        assert shown["attributes"]["description"] == stored
        back = {"data": {name: shown[name] for name in ("id", "type", "attributes")}}
        same = await service.client.request("PATCH", f"{PATH}/{webhook_id}", back)
        assert (same.status, same.data) == (200, shown)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "https://10.0.0.1/"), "must lead to a public address"),
        (("create", URL, "--event", "attachment.made"), "--event: must be one or more of"),
        (("create", URL, "--description", "x" * 256), "--description is too long (maximum is 255"),
        (("create", URL, "--description", "a\nb"), "--description must be one line"),
        (("create", URL, "--description", "\udcff"), "--description must be UTF-8"),
        (("update", "1", "--description", "\udcff"), "--description must be UTF-8"),
        (("retry", "1"), "give either --delivery or --since"),
        (("retry", "1", "--since", "yesterday"), "--since: must be a time such as"),
        (("retry", "1", "--since", "2020-01-01"), "nothing to retry"),
        (("deliveries", "1"), "has no webhook 1"),
        (("deliveries", "1", "--state", "lost"), "--state: must be one of"),
        (("show", "1"), "has no webhook 1"),
        (("deliveries", "1", "--state", "failed", "--delivery", "1"), "either --delivery or"),
        (("rotate", "1"), "has no webhook 1"),
        (("update", "1", "--active"), "has no webhook 1"),
    ],
)
async def test_a_mistake_is_reported_in_one_line(
    service: Service, arguments: tuple[str, ...], said: str
) -> None:
    ours = ("--organization", str(service.client.organization_id))
    ended = await command(service, "webhooks", *arguments, *ours)
    assert ended.status in (1, 2)
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_a_missing_setting_is_named(start_service: StartService) -> None:
    service = await start_service(**{**SETTINGS, "webhook_secret": ""})
    ours = ("--organization", str(service.client.organization_id))
    ended = await command(service, "webhooks", "create", URL, *ours)
    assert ended.status == 1
    assert "ATTACHMENTS_WEBHOOK_SECRET is not set" in ended.err
