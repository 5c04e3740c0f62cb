"""The doctor's verdicts on servers that are too old, that are replicas, or whose clock is wrong.

Tests cannot start servers of these kinds. The acceptance tests run the doctor with real servers.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import format_datetime
from typing import Self

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.cli import run
from deploy.doctor import broker, clocks, database
from deploy.doctor.clocks import check_clocks
from deploy.doctor.command import is_origin
from deploy.doctor.examination import Examination, failed, ok, skipped, warning
from deploy.doctor.report import is_healthy, print_verdicts, to_json
from deploy.doctor.store import check_store
from shared.settings import Settings

Captured = pytest.CaptureFixture[str]


# --- the command -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["https://app.example", "http://localhost:3000", "https://[::1]:8443", "http://127.0.0.1"],
)
def test_an_origin_is_scheme_and_host(text: str) -> None:
    assert is_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "app.example",
        "ftp://app.example",
        "https://",
        "https://app.example/",
        "https://app.example/path",
        "https://app.example?x",
        "https://app.example#x",
        "https://me@app.example",
        "https://app.example:port",
        "https://app .example",
        "https://äpp.example",
        "https://app.example\r\nX: y",
        "HTTPS://app.example",
        "https://[::1",
    ],
)
def test_every_other_value_is_no_origin(text: str, capsys: Captured) -> None:
    assert not is_origin(text)
    assert run(["doctor", "--origin", text]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("attachments: --origin: must be")


@pytest.mark.parametrize("seconds", ["0", "-1", "901", "soon"])
def test_a_wait_that_cannot_be_is_misuse(seconds: str, capsys: Captured) -> None:
    assert run(["doctor", "--wait", seconds]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- the output of verdicts --------------------------------------------------------------

VERDICTS = {
    "settings": ok("can be read"),
    "event": ok("it came", seconds=0.12345),
    "cors": warning("it is refused", "allow [it]"),
    "links": skipped("needs upload, which failed"),
}


def test_warnings_and_skips_do_not_make_a_service_unhealthy_and_a_failure_does() -> None:
    assert is_healthy(VERDICTS)
    assert not is_healthy({**VERDICTS, "upload": failed("it is refused", "allow it")})


def test_json_lists_every_check_in_order_and_seconds_only_if_measured() -> None:
    assert json.loads(json.dumps(to_json(VERDICTS))) == {
        "healthy": True,
        "checks": [
            {"name": "settings", "status": "ok", "found": "can be read", "mend": None},
            {"name": "event", "status": "ok", "found": "it came", "mend": None, "seconds": 0.123},
            {"name": "cors", "status": "warning", "found": "it is refused", "mend": "allow [it]"},
            {
                "name": "links",
                "status": "skipped",
                "found": "needs upload, which failed",
                "mend": None,
            },
        ],
    }


def test_the_table_shows_remedies_and_nothing_in_it_commands_a_terminal(capsys: Captured) -> None:
    print_verdicts({**VERDICTS, "api": failed("\x1b[2Jgone\nand [bold]more", "mend it\x07")})
    shown = capsys.readouterr().out
    assert "→ allow [it]" in shown
    assert "[bold]more" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert shown.splitlines()[-1] == "not healthy: 2 ok, 1 warning, 1 failed, 1 skipped"


# --- servers that tests cannot start -----------------------------------------------------


@pytest.mark.parametrize(
    ("version", "standby", "read_only", "found"),
    [
        pytest.param(140_012, False, False, "PostgreSQL 14 is too old", id="14"),
        pytest.param(90_600, False, False, "PostgreSQL 9 is too old", id="9.6"),
        pytest.param(180_000, True, True, "is a standby", id="standby"),
        pytest.param(180_000, False, True, "is read-only", id="read-only"),
    ],
)
def test_a_postgres_that_cannot_serve_fails(
    version: int, standby: bool, read_only: bool, found: str
) -> None:
    verdict = database.judge("here", version, standby=standby, read_only=read_only)
    assert verdict.status == "failed"
    assert found in verdict.found


def test_postgres_15_is_new_enough() -> None:
    assert database.judge("here", 150_000, standby=False, read_only=False) == ok(
        "PostgreSQL 15 at here"
    )


@pytest.mark.parametrize(
    ("info", "status", "found"),
    [
        pytest.param({"redis_version": "7.0.0"}, "ok", "Redis 7.0.0 at here", id="Redis 7"),
        pytest.param({"redis_version": "10.1.0"}, "ok", "Redis 10.1.0 at here", id="Redis 10"),
        pytest.param({"redis_version": "6.2.9"}, "failed", "Redis 6.2.9 is too old", id="Redis 6"),
        pytest.param(
            # Valkey reports two versions: its own, and that of the Redis with which it is
            # compatible.
            {"redis_version": "7.2.4", "valkey_version": "8.0.1"},
            "ok",
            "Valkey 8.0.1 at here",
            id="Valkey",
        ),
        pytest.param(
            {"redis_version": "7.2.4", "role": "slave"}, "failed", "is a replica", id="replica"
        ),
        pytest.param(
            {"redis_version": "7.2.4", "loading": "1"}, "failed", "still loading", id="loading"
        ),
        pytest.param({}, "warning", "does not allow INFO", id="mute"),
    ],
)
def test_a_broker_is_judged_by_its_info(info: dict[str, str], status: str, found: str) -> None:
    verdict = broker.judge(info, "here")
    assert verdict.status == status
    assert found in verdict.found


# --- a store with wrong answers ----------------------------------------------------------

Handler = Callable[[web.Request], web.StreamResponse]
Asked = Callable[[Handler], Examination]


@pytest_asyncio.fixture
async def examination(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    """Return a function that runs the doctor's checks of a store.

    The test gives it a handler, which answers in place of the store.
    """
    answers: list[Handler] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        return answers[0](request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as http,
        AsyncExitStack() as exits,
    ):
        settings = Settings(
            database_url="postgresql://nowhere/none",
            broker_url="redis://nowhere",
            s3_bucket="bucket",
            s3_endpoint_url=str(server.make_url("")),
            files_secret="a secret of some length",
        )

        def asked(handler: Handler) -> Examination:
            answers[:] = [handler]
            return Examination(
                settings=settings, origin=None, wait_s=1, http=http, exits=exits, content=b""
            )

        yield asked


@pytest.mark.parametrize(
    ("ahead_s", "status", "found"),
    [
        pytest.param(0, "ok", "store in step", id="in step"),
        pytest.param(30, "ok", "s ahead", id="30 s ahead"),
        pytest.param(-90, "warning", "s behind", id="90 s behind"),
        pytest.param(90, "warning", "s ahead", id="90 s ahead"),
        pytest.param(-400, "failed", "s behind", id="400 s behind"),
        pytest.param(4000, "failed", "s ahead", id="4000 s ahead"),
    ],
)
async def test_the_difference_of_the_stores_clock_is_reported(
    examination: Asked, monkeypatch: pytest.MonkeyPatch, ahead_s: int, status: str, found: str
) -> None:
    here = datetime(2026, 1, 1, 12, tzinfo=UTC)

    class Stopped(datetime):
        """A clock that never advances, so that it does not matter how long the doctor waits."""

        @classmethod
        def now(cls, _: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(here.timestamp(), UTC)

    def answer(_: web.Request) -> web.StreamResponse:
        moment = here + timedelta(seconds=ahead_s)
        return web.Response(status=403, headers={"Date": format_datetime(moment, usegmt=True)})

    monkeypatch.setattr(clocks, "datetime", Stopped)

    verdict = await check_clocks(examination(answer))
    assert verdict.status == status
    assert found in verdict.found
    assert (verdict.mend is None) == (status == "ok")


async def test_a_store_without_a_readable_time_is_no_failure(
    examination: Asked,
) -> None:
    verdict = await check_clocks(
        examination(lambda _: web.Response(headers={"Date": "when it suits me"}))
    )
    assert verdict.status == "skipped"


@pytest.mark.parametrize(
    ("status", "code", "found"),
    [
        pytest.param(403, "AccessDenied", "403 for a key that is not there", id="no ListBucket"),
        pytest.param(403, "RequestTimeTooSkewed", "clocks", id="skewed"),
        pytest.param(400, "ExpiredToken", "have ended", id="ended"),
        pytest.param(400, "AuthorizationHeaderMalformed", "another region", id="region"),
        pytest.param(403, "SomethingNew", "refuses us (SomethingNew)", id="unknown"),
    ],
)
async def test_a_refusal_of_the_store_is_put_into_words(
    examination: Asked, status: int, code: str, found: str
) -> None:
    body = f"<Error><Code>{code}</Code><Message>a-secret-of-the-store</Message></Error>"
    verdict = await check_store(examination(lambda _: web.Response(status=status, text=body)))
    assert verdict.status == "failed"
    assert found in verdict.found
    assert "a-secret-of-the-store" not in str(verdict)


async def test_a_store_that_returns_an_unwritten_object_is_not_s3(examination: Asked) -> None:
    verdict = await check_store(
        examination(lambda _: web.Response(text="<html>", headers={"ETag": '"x"'}))
    )
    assert verdict.status == "failed"
