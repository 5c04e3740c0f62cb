"""`attachments events`: list, show and replay messages that could not be used."""

import json
import os
import subprocess
import sys
from base64 import b64decode
from typing import Any

import pytest
import redis.asyncio

from deploy.cli import run
from deploy.embedded.ports import HOST, choose_port
from shared import dead_letters
from shared.notifications.event import MessageSource
from tests.data import images
from tests.support.commands import ROOT, command
from tests.support.service import Service
from tests.support.stack import queue_key
from tests.support.starting import StartService, StartWorker

UNREADABLE = b'{"Records": 7}'
COMMANDING = b'\x1b]0;owned\x07 \x9b31m \xc2\x9b31m \r\x08\x7f \xe2\x80\xae {"a":\n1}\xff'


async def keep(service: Service, body: bytes, *, source: MessageSource = "webhook") -> int:
    """Store a message as a dead letter, and return its id."""
    async with service.database.acquire() as connection:
        await dead_letters.keep(
            connection,
            body,
            source=source,
            origin=f"{source} unknown",
            dialect=None,
            reason="no dialect knows this message",
        )
    found = await service.database.fetchval("SELECT max(id) FROM dead_letters")
    assert isinstance(found, int)
    return found


async def kept(service: Service) -> list[int]:
    """Return the ids of all dead letters."""
    return [
        row[0] for row in await service.database.fetch("SELECT id FROM dead_letters ORDER BY 1")
    ]


async def everything(service: Service) -> list[str]:
    """Return all rows that a replay could change, each as a text."""
    rows = await service.database.fetch(
        "SELECT a::text FROM attachments AS a UNION ALL SELECT d::text FROM dead_letters AS d"
    )
    return sorted(row[0] for row in rows)


async def waiting(service: Service) -> int:
    """Count the wake-ups in the queue of the client's organization."""
    async with redis.asyncio.from_url(service.environment["ATTACHMENTS_BROKER_URL"]) as broker:
        return int(await broker.llen(queue_key(service.client.organization_id)))


async def event(service: Service, *ids: str) -> bytes:
    """Make the message with which S3 reports the uploads of attachments."""
    records = [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Post",
            "s3": {
                "bucket": {"name": service.settings.s3_bucket},
                "object": {"key": (await service.row(each)).key, "sequencer": "0A"},
            },
        }
        for each in ids
    ]
    return json.dumps({"Records": records}).encode()


async def create(service: Service) -> str:
    document: Any = await service.client.create()
    return str(document["data"]["id"])


class TestList:
    """Tests of `events list`."""

    async def test_shows_the_newest_first_up_to_the_limit(self, service: Service) -> None:
        ids = [await keep(service, b"%d" % number) for number in range(5)]
        await keep(service, b"2")  # this body is stored already, so no row is added
        ended = await command(service, "events", "list", "--json", "--limit", "3")
        assert ended.status == 0
        letters = json.loads(ended.out)
        assert [letter["id"] for letter in letters] == ids[:1:-1]
        assert [letter["count"] for letter in letters] == [1, 1, 2]
        assert letters[0] == {
            "id": ids[4],
            "source": "webhook",
            "dialect": None,
            "count": 1,
            "size": 1,
            "reason": "no dialect knows this message",
            "origin": "webhook unknown",
            "first_at": letters[0]["first_at"],
            "last_at": letters[0]["last_at"],
        }

    async def test_shows_a_table_without_bodies(self, service: Service) -> None:
        number = await keep(service, b"the-body", source="sqs")
        ended = await command(service, "events", "list")
        assert ended.status == 0
        (line,) = [line for line in ended.out.splitlines() if "sqs" in line]
        assert str(number) in line
        assert "no dialect knows this message" in line
        assert "the-body" not in ended.out


class TestShow:
    """Tests of `events show`."""

    async def test_nothing_in_a_body_can_command_the_terminal(self, service: Service) -> None:
        number = await keep(service, COMMANDING)
        ended = await command(service, "events", "show", str(number))
        assert ended.status == 0
        assert all(letter.isprintable() for letter in ended.out.replace("\n", ""))
        assert '{"a":\n1}' in ended.out

    async def test_gives_the_body_byte_for_byte(self, service: Service) -> None:
        number = await keep(service, COMMANDING)
        raw = await command(service, "events", "show", str(number), "--raw")
        assert (raw.status, raw.raw, raw.err) == (0, COMMANDING, "")
        ended = await command(service, "events", "show", str(number), "--json")
        shown = json.loads(ended.out)
        assert b64decode(shown.pop("body_base64")) == COMMANDING
        assert (shown["id"], shown["size"]) == (number, len(COMMANDING))

    async def test_gives_raw_bytes_to_no_terminal(self, service: Service) -> None:
        number = await keep(service, COMMANDING)
        own, terminal = os.openpty()
        try:
            ended = subprocess.run(  # noqa: ASYNC221 - it is short
                [sys.executable, "-m", "deploy.cli", "events", "show", str(number), "--raw"],
                env={"PATH": os.environ["PATH"], **service.environment},
                cwd=ROOT,
                stdout=terminal,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
            )
            os.set_blocking(own, False)
            with pytest.raises(BlockingIOError):
                os.read(own, 1)
        finally:
            os.close(own)
            os.close(terminal)
        assert ended.returncode == 2
        assert b"--raw writes into a file or a pipe" in ended.stderr

    async def test_names_an_id_that_is_none(self, service: Service) -> None:
        ended = await command(service, "events", "show", "77")
        assert (ended.status, ended.out) == (1, "")
        assert ended.err == "attachments: there is no dead letter 77\n"


class TestReplay:
    """Tests of `events replay`."""

    async def test_a_letter_that_is_readable_now_takes_effect_and_wakes_a_worker(
        self, start_service: StartService, start_worker: StartWorker
    ) -> None:
        # Only the replay can wake the worker: the store sends no event, and no sweep is due.
        slow = {"pending_check": "3600", "publish_grace": "300", "sweep_interval": "300"}
        service = await start_service(**slow)
        service.stack.relay.target = None
        one = await service.client.upload(images.photo())
        number = await keep(service, await event(service, one))
        await start_worker(service)
        ended = await command(service, "events", "replay", str(number))
        assert (ended.status, ended.err) == (0, "")
        assert ended.out == f"{number}: 1 will be processed, 0 need no worker, 0 ignored\n"
        assert (await service.client.settled(one))["meta"]["state"] == "ready"
        assert await kept(service) == []
        again = await command(service, "events", "replay", str(number))
        assert (again.status, again.out) == (1, "")
        assert again.err == f"{number}: no dead letter has this id\n"

    async def test_a_dry_run_prints_its_effects_and_changes_nothing(
        self, start_worker: StartWorker, service: Service
    ) -> None:
        del start_worker  # no worker is started, but the fixture empties the broker
        one, other = await create(service), await create(service)
        good = await keep(service, await event(service, one, other))
        bad = await keep(service, UNREADABLE)
        before = await everything(service)
        ended = await command(service, "events", "replay", "--dry-run", str(good), str(bad))
        assert ended.status == 1
        assert ended.out.splitlines()[0] == (
            f"{good}: 2 would be processed, 0 need no worker, 0 ignored"
        )
        assert ended.out.splitlines()[1].startswith(
            f"{bad}: 0 would be processed, 0 need no worker, 0 ignored; it is kept"
        )
        assert await everything(service) == before
        assert await waiting(service) == 0

    async def test_replay_of_all_keeps_unreadable_letters(self, service: Service) -> None:
        one, other = await create(service), await create(service)
        await keep(service, await event(service, one))
        bad = await keep(service, UNREADABLE)
        await keep(service, await event(service, one, other))
        await keep(service, b'{"Service":"Amazon S3","Event":"s3:TestEvent"}')
        ended = await command(service, "events", "replay", "--all")
        assert ended.status == 1
        assert len(ended.out.splitlines()) == 4
        assert await kept(service) == [bad]
        assert [(await service.row(each)).revision for each in (one, other)] == [1, 1]
        await service.execute("DELETE FROM dead_letters")
        nothing = await command(service, "events", "replay", "--all")
        assert (nothing.status, nothing.out) == (0, "")

    async def test_more_letters_than_are_read_at_a_time_are_all_replayed(
        self, service: Service
    ) -> None:
        await service.execute(
            "INSERT INTO dead_letters (digest, body, source, reason)"
            " SELECT sha256(n::text::bytea), '{\"Records\":[]}', 'webhook', 'r'"
            " FROM generate_series(1, 450) AS n"
        )
        ended = await command(service, "events", "replay", "--all")
        assert (ended.status, len(ended.out.splitlines())) == (0, 450)
        assert await kept(service) == []

    async def test_unknown_ids_are_reported_and_the_others_replayed(self, service: Service) -> None:
        one = await create(service)
        number = await keep(service, await event(service, one))
        ended = await command(service, "events", "replay", "999", str(number), str(number))
        assert (ended.status, ended.err) == (1, "999: no dead letter has this id\n")
        assert len(ended.out.splitlines()) == 1
        assert (await service.row(one)).state == "uploaded"

    async def test_with_the_broker_away_the_sweep_is_left_to_take_over(
        self, service: Service
    ) -> None:
        one = await create(service)
        number = await keep(service, await event(service, one))
        nowhere = f"redis://{HOST}:{choose_port()}/0"
        ended = await command(service, "events", "replay", str(number), broker_url=nowhere)
        assert ended.status == 0
        assert "the broker is unavailable; the next sweep of a worker takes them up" in ended.err
        assert (await service.row(one)).state == "uploaded"


async def test_replay_of_all_reports_that_there_are_none(service: Service) -> None:
    ended = await command(service, "events", "replay", "--all")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == "there are no dead letters; nothing was replayed\n"


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "1"], ["replay", "1"], ["replay", "--all"]], ids=" ".join
)
async def test_an_unavailable_database_is_reported_in_one_line(
    service: Service, arguments: list[str]
) -> None:
    nowhere = f"postgresql://a:the-password@{HOST}:{choose_port()}/b"
    ended = await command(service, "events", *arguments, database_url=nowhere)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(
        "attachments: ATTACHMENTS_DATABASE_URL: PostgreSQL refuses connections at the address"
    )
    assert ended.err.count("\n") == 1
    assert "the-password" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["replay"], "give either IDs or --all", id="replay of nothing"),
        pytest.param(["replay", "1", "--all"], "give either IDs or --all", id="replay of both"),
        pytest.param(["replay", "x"], "valid integer", id="replay of a word"),
        pytest.param(["replay", "0"], "greater than or equal to 1", id="replay of zero"),
        pytest.param(["show"], "Missing argument 'ID'", id="show of nothing"),
        pytest.param(["show", str(2**63)], "less than or equal to", id="id too large"),
        pytest.param(["show", "1", "--raw", "--json"], "either --raw or --json", id="two forms"),
        pytest.param(["list", "--limit", "0"], "greater than or equal to 1", id="no limit"),
        pytest.param(["lst"], "No such command 'lst'", id="unknown command"),
    ],
)
def test_a_mistyped_value_is_named_with_its_rule(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["events", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert words in shown.err
