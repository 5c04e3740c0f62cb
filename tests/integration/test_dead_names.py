"""Webhooks whose receivers have names that nobody resolves: they hold up nothing else."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.service import until
from tests.support.untrusted import (
    VAULT,
    Server,
    accept_all,
    delivery,
    running,
    settings_for,
)
from worker.webhooks.lookups import Lookups
from worker.webhooks.sending import Reply, open_sender

DEAD = 100


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Let look-ups below `dead.example` hang, as if the servers of that domain did not answer.

    Yields how often each of these names was looked up.
    """
    resolve, over, counts = socket.getaddrinfo, threading.Event(), Counter[str]()

    def hang(host: Any, *args: Any, **more: Any) -> Any:
        if str(host).endswith(".dead.example"):
            counts[host] += 1
            over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return resolve(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield counts
    over.set()


async def test_dead_names_hold_up_neither_other_receivers_nor_threads_of_the_loop(
    asked: Counter[str],
) -> None:
    async with (
        running(accept_all, Server()) as port,
        open_sender(settings_for("127.0.0.0/8"), VAULT, timeout_s=10) as sender,
    ):
        hung = [
            asyncio.create_task(sender.send(delivery(f"http://{number}.dead.example:{port}/")))
            for number in range(DEAD)
        ]
        await until(lambda: _is_true(len(asked) == DEAD))

        assert await sender.send(delivery(f"http://localhost:{port}/")) == Reply(status=204)
        # The worker's other connections and files use the threads of the loop.
        loop = asyncio.get_running_loop()
        assert await asyncio.wait_for(loop.getaddrinfo("localhost", port), 10)
        assert not any(task.done() for task in hung)
        for task in hung:
            task.cancel()
        await asyncio.gather(*hung, return_exceptions=True)


async def _is_true(found: bool) -> bool:
    return found


async def test_deliveries_to_one_dead_name_share_its_look_up(asked: Counter[str]) -> None:
    url = "http://one.dead.example/"
    async with open_sender(settings_for(), VAULT, timeout_s=0.5) as sender:
        for _ in range(2):  # the first look-up still runs after its deliveries have timed out
            replies = await asyncio.gather(*(sender.send(delivery(url)) for _ in range(20)))
            assert replies == [Reply(fault="timeout")] * 20
    assert asked == {"one.dead.example": 1}


async def test_a_name_waits_while_too_many_are_looked_up(asked: Counter[str]) -> None:
    names = Lookups(most=1)
    first = asyncio.create_task(names.resolve("a.dead.example"))
    second = asyncio.create_task(names.resolve("localhost"))
    await until(lambda: _is_true("a.dead.example" in asked))
    assert not second.done()
    await names.close()
    assert {type(each) for each in await asyncio.gather(first, second, return_exceptions=True)} == {
        asyncio.CancelledError
    }
    assert [each["host"] for each in await names.resolve("localhost", 80)] == ["127.0.0.1"]


async def test_a_name_that_can_be_none_is_an_error() -> None:
    with pytest.raises(UnicodeError):
        await Lookups().resolve("a" * 64 + ".example")
