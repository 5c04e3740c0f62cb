"""Functions that run every command for a service whose fields all hold hostile text."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.client.wire import MEDIA_TYPE
from tests.support.commands import Ended, command
from tests.support.hostile import HOSTILE
from tests.support.hostile_webhooks import HostileWebhooks
from tests.support.service import Service

ARGUMENT = HOSTILE.replace("\x00", "").replace("\ud800", "").replace("\udfff", "")
"""HOSTILE without the characters that an argument, a setting or a file name cannot hold."""

STORED = ARGUMENT.replace("\udcff", "")
"""ARGUMENT without the character that PostgreSQL cannot store."""

NAME = f"a{ARGUMENT.replace('/', '')}.txt"

Runs = Callable[[Service, Path], Awaitable[list[Ended]]]


async def hostile_attachment(service: Service) -> int:
    """Create an attachment with hostile text in all fields, and return its id."""
    attachment_id = int((await service.client.create("a.txt"))["data"]["id"])
    await service.execute(
        "UPDATE attachments SET name = $2, message_id = $2, external_id = $2, temp_url = $2,"
        " content_type = $2, etag = $2, version_id = $2, reason = $2 WHERE id = $1",
        attachment_id,
        STORED,
    )
    return attachment_id


async def hostile_letter(service: Service) -> int:
    """Store a dead letter with hostile text in all fields, and return its id."""
    body = STORED.encode() + b"\xff\x00\n" + json.dumps({"EventName": STORED}).encode()
    return int(
        await service.database.fetchval(
            "INSERT INTO dead_letters (digest, body, source, dialect, reason)"
            " VALUES (sha256($1), $1, 'webhook', $2, $2) RETURNING id",
            body,
            STORED,
        )
    )


async def show(service: Service, _: Path) -> list[Ended]:
    number = str(await hostile_attachment(service))
    table = await command(service, "show", number)
    as_json = await command(service, "show", number, "--json")
    shown = json.loads(as_json.out)
    assert all(shown[name] == STORED for name in ("name", "message_id", "external_id", "reason"))
    return [table, as_json]


async def reconcile(service: Service, _: Path) -> list[Ended]:
    await hostile_attachment(service)
    return [await command(service, "reconcile"), await command(service, "reconcile", "--json")]


async def retry(service: Service, _: Path) -> list[Ended]:
    number = str(await hostile_attachment(service))
    return [
        await command(service, "retry", number, "1"),
        await command(service, "retry", "--failed"),
    ]


async def list_all(service: Service, _: Path) -> list[Ended]:
    await hostile_attachment(service)
    as_json = await command(service, "list", "--json")
    assert json.loads(as_json.out)[0]["name"] == STORED
    words = await command(service, "list", "--state", ARGUMENT, "--reason", ARGUMENT)
    return [as_json, await command(service, "list"), words]


async def count(service: Service, _: Path) -> list[Ended]:
    await hostile_attachment(service)
    return [await command(service, "count"), await command(service, "count", "--json")]


async def organizations_list(service: Service, folder: Path) -> list[Ended]:
    made = await organizations_create(service, folder)
    as_json = await command(service, "organizations", "list", "--json")
    assert json.loads(as_json.out)[-1]["name"] == STORED.strip()
    return [*made, as_json, await command(service, "organizations", "list")]


async def events_list(service: Service, _: Path) -> list[Ended]:
    await hostile_letter(service)
    as_json = await command(service, "events", "list", "--json")
    assert json.loads(as_json.out)[0]["reason"] == STORED
    return [await command(service, "events", "list"), as_json]


async def events_show(service: Service, _: Path) -> list[Ended]:
    # The option --raw is not tested. It may write any bytes, because it never writes to a terminal.
    number = str(await hostile_letter(service))
    as_json = await command(service, "events", "show", number, "--json")
    assert json.loads(as_json.out)["dialect"] == STORED
    return [await command(service, "events", "show", number), as_json]


async def events_replay(service: Service, _: Path) -> list[Ended]:
    await hostile_letter(service)
    return [await command(service, "events", "replay", "--all")]


async def organizations_create(service: Service, _: Path) -> list[Ended]:
    return [await command(service, "organizations", "create", STORED)]


async def organizations_limit(service: Service, _: Path) -> list[Ended]:
    number = str(service.client.organization_id)
    return [
        await command(service, "organizations", "limit", number, "--bytes", words)
        for words in (ARGUMENT, "5", "none", "default")
    ]


async def usage(service: Service, _: Path) -> list[Ended]:
    await hostile_attachment(service)
    await organizations_create(service, _)
    as_json = await command(service, "usage", "--recount", "--json")
    assert json.loads(as_json.out)[0]["attachments"] == 1
    return [as_json, await command(service, "usage")]


async def tokens_create(service: Service, _: Path) -> list[Ended]:
    return [
        await command(
            service,
            "tokens",
            "create",
            "--organization",
            str(service.client.organization_id),
            "--name",
            STORED,
        )
    ]


async def tokens_list(service: Service, folder: Path) -> list[Ended]:
    made = await tokens_create(service, folder)
    number = str(service.client.organization_id)
    as_json = await command(service, "tokens", "list", "--organization", number, "--json")
    assert STORED in [token["name"] for token in json.loads(as_json.out)]
    return [*made, as_json, await command(service, "tokens", "list", "--organization", number)]


async def tokens_revoke(service: Service, folder: Path) -> list[Ended]:
    await tokens_create(service, folder)
    number = await service.database.fetchval("SELECT max(id) FROM tokens")
    return [await command(service, "tokens", "revoke", str(number)) for _ in range(2)]


async def migrate(service: Service, _: Path) -> list[Ended]:
    url = service.environment["ATTACHMENTS_DATABASE_URL"]
    return [
        await command(service, "migrate"),
        await command(service, "migrate", database_url=f"{url}{ARGUMENT}"),
    ]


async def doctor(service: Service, _: Path) -> list[Ended]:
    wrong = f"http://127.0.0.1:9/{ARGUMENT}"
    return [
        await command(service, "doctor", "--wait", "1", *more, api_url=wrong, files_url=wrong)
        for more in ((), ("--json",))
    ]


async def upload(service: Service, folder: Path) -> list[Ended]:
    file, refused_by_ours = folder / NAME.replace("\n", "").replace("\r", ""), folder / NAME
    for each in (file, refused_by_ours):
        each.write_text("text")
    ours = {
        "api_url": service.base_url,
        "token": service.client.token,
        "organization_id": str(service.client.organization_id),
    }
    both = ("upload", str(file), str(refused_by_ours), "--no-wait")
    as_json = await command(service, *both, "--json", **ours)
    items = json.loads(as_json.out)
    assert [item["file"] for item in items] == [str(file), str(refused_by_ours)]
    assert [item["state"] for item in items] == ["pending", None]
    ends = [as_json, await command(service, *both, **ours)]

    async def answer(request: web.Request) -> web.Response:
        status = 404 if request.method == "GET" else 422
        errors = [{"detail": STORED, "source": {"pointer": f"/{STORED}"}}]
        return web.json_response({"errors": errors}, status=status, content_type=MEDIA_TYPE)

    strange = web.Application()
    strange.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(strange) as server:
        theirs = {**ours, "api_url": str(server.make_url("")).rstrip("/")}
        refused = [
            await command(service, "upload", str(file), *more, **theirs)
            for more in ((), ("--json",))
        ]
    assert all("422" in ended.out for ended in refused)
    return [*ends, *refused]


async def api(service: Service, _: Path) -> list[Ended]:
    return [
        await command(service, "api", api_host=f"nope{ARGUMENT}", hosts=ARGUMENT),
        await command(service, "api", api_host=f"nope{ARGUMENT}"),
    ]


async def with_profile(service: Service, name: str) -> list[Ended]:
    """Run a command with an AWS profile that does not exist.

    The error repeats the hostile name of the profile.
    """
    profile = {"AWS_PROFILE": ARGUMENT, "ATTACHMENTS_SQS_QUEUE_URL": "http://127.0.0.1:9/q"}
    environment = {**service.environment, **profile}
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del environment[key]
    changed = Service(**{**vars(service), "environment": environment})
    return [await asyncio.wait_for(command(changed, name), 60)]


async def backlog(service: Service, _: Path) -> list[Ended]:
    return [await command(service, "backlog"), await command(service, "backlog", "--json")]


async def health(service: Service, _: Path) -> list[Ended]:
    return [
        await command(service, "health", api_host=f"nope{ARGUMENT}"),
        await command(service, "health", api_port=f"1{ARGUMENT}"),
    ]


async def worker(service: Service, _: Path) -> list[Ended]:
    return await with_profile(service, "worker")


async def consume(service: Service, _: Path) -> list[Ended]:
    return await with_profile(service, "consume")


async def up(service: Service, folder: Path) -> list[Ended]:
    # Check what `attachments up` itself prints. It also prints the output of its processes, which
    # tests/unit/test_plain.py checks.
    in_the_way = folder / NAME
    in_the_way.write_text("")
    ready = ("up", "--data-dir", str(folder / "kept"), "--ready-file", str(folder))
    return [
        await command(service, "up", "--data-dir", str(in_the_way)),
        await command(service, *ready),
        await command(service, "up", "--data-dir", str(folder / "kept"), api_host=ARGUMENT),
    ]


WEBHOOKS = HostileWebhooks(STORED)

RUNS: dict[str, Runs] = {
    "api": api,
    "backlog": backlog,
    "count": count,
    "consume": consume,
    "doctor": doctor,
    "events list": events_list,
    "events replay": events_replay,
    "events show": events_show,
    "health": health,
    "list": list_all,
    "migrate": migrate,
    "organizations create": organizations_create,
    "organizations limit": organizations_limit,
    "organizations list": organizations_list,
    "reconcile": reconcile,
    "retry": retry,
    "show": show,
    "tokens create": tokens_create,
    "tokens list": tokens_list,
    "tokens revoke": tokens_revoke,
    "up": up,
    "upload": upload,
    "usage": usage,
    "webhooks create": WEBHOOKS.create,
    "webhooks delete": WEBHOOKS.delete,
    "webhooks deliveries": WEBHOOKS.deliveries,
    "webhooks list": WEBHOOKS.list_all,
    "webhooks retry": WEBHOOKS.retry,
    "webhooks rotate": WEBHOOKS.rotate,
    "webhooks show": WEBHOOKS.show,
    "webhooks test": WEBHOOKS.test,
    "webhooks update": WEBHOOKS.update,
    "worker": worker,
}
