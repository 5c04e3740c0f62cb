"""Rate limits of organizations and tokens, and of all API processes together."""

from contextlib import suppress
from dataclasses import replace

from api.problems import Problem
from api.rate_limit import FIELDS, RateLimit
from shared import tokens
from shared.tokens import Caller
from tests.support.queries import make_request
from tests.support.resources import PATH
from tests.support.service import Client, Service
from tests.support.starting import StartService

LIMIT = 20


def caller_of(organization_id: int, rate_limit: int | None = None) -> Caller:
    """Return a caller with a token of this organization."""
    return Caller(
        token_id=organization_id + 1000,
        organization_id=organization_id,
        person_id=None,
        scope="read",
        rate_limit=rate_limit,
    )


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def admitted(limits: RateLimit, asked: int, caller: Caller) -> int:
    """Spend `asked` requests of the caller's rate limit, and return how many are admitted."""
    count = 0
    for _ in range(asked):
        with suppress(Problem):
            limits.spend(make_request(""), caller)
            count += 1
    return count


async def test_a_second_holds_one_limit_and_no_more() -> None:
    clock, caller = Clock(), caller_of(1)
    limits = RateLimit(LIMIT, clock=clock)

    assert admitted(limits, 50, caller) == LIMIT
    assert admitted(limits, 50, caller_of(2)) == LIMIT
    clock.now += 0.5
    assert admitted(limits, 50, caller) == LIMIT // 2
    clock.now += 60
    assert admitted(limits, 50, caller) == LIMIT


async def test_a_token_has_a_limit_beside_that_of_its_organization() -> None:
    limits = RateLimit(LIMIT, clock=Clock())
    limited = caller_of(1, rate_limit=3)

    assert admitted(limits, 10, limited) == 3
    # Requests that the token's limit refuses do not count for the organization's limit.
    assert admitted(limits, 50, replace(limited, token_id=2, rate_limit=None)) == LIMIT - 3
    assert admitted(RateLimit(0, clock=Clock()), 50, limited) == 3
    assert admitted(RateLimit(0, clock=Clock()), 50, caller_of(1)) == 50


async def test_the_fields_show_what_is_left() -> None:
    limits = RateLimit(LIMIT, clock=Clock())
    request = make_request("")
    limits.spend(request, caller_of(1, rate_limit=1))
    assert request[FIELDS] == {
        "RateLimit-Policy": '"organization";q=20;w=1, "token";q=1;w=1',
        "RateLimit": '"organization";r=19;t=1, "token";r=0;t=1',
    }


async def test_a_process_admits_its_share_of_what_is_left() -> None:
    clock, caller, key = Clock(), caller_of(1), ("o", 1)
    limits = RateLimit(LIMIT, clock=clock)
    assert admitted(limits, 1, caller) == 1
    assert limits.take(10) == {key: (LIMIT, 1)}
    # `take` has reported the first request. The next two requests come after that, so the numbers
    # for `learn` do not include them.
    assert admitted(limits, 2, caller) == 2
    limits.learn({key: (12.0, 4)})

    assert admitted(limits, 50, caller) == 12 // 4 - 2
    clock.now += 1
    assert admitted(limits, 50, caller) == LIMIT // 4
    limits.learn({key: (-10.0, 2)})
    clock.now += 0.5
    assert admitted(limits, 50, caller) == 0
    limits.alone = True
    clock.now += 1
    assert admitted(limits, 50, caller) > LIMIT // 2


async def test_a_limit_below_the_number_of_processes_admits_requests() -> None:
    clock, caller, key = Clock(), caller_of(1, rate_limit=2), ("t", 1001)
    limits = RateLimit(0, clock=clock)
    assert admitted(limits, 5, caller) == 2
    assert limits.take(10) == {key: (2, 2)}
    limits.learn({key: (2.0, 8)})
    assert admitted(limits, 5, caller) == 1


async def test_reports_take_turns_and_end_without_requests() -> None:
    limits = RateLimit(LIMIT, clock=Clock())
    for number in range(5):
        admitted(limits, 1, caller_of(number))
    assert list(limits.take(3)) == [("o", 0), ("o", 1), ("o", 2)]
    assert limits.asked.is_set()
    assert list(limits.take(3)) == [("o", 3), ("o", 4)]
    assert not limits.asked.is_set()


async def limited_client(service: Service, rate_limit: int) -> Client:
    """Return a client of the service's organization whose token has a rate limit."""
    async with service.database.acquire() as connection:
        made = await tokens.issue_token(
            connection, service.client.organization_id, "limited", rate_limit=rate_limit
        )
    return replace(service.client, token=made.plain)


async def test_answers_show_the_limits(start_service: StartService) -> None:
    service = await start_service(rate_limit="100")
    limited = await limited_client(service, 2)

    answer = await service.client.request("GET", PATH)
    assert answer.headers["RateLimit-Policy"] == '"organization";q=100;w=1'
    assert answer.headers["RateLimit"].startswith('"organization";r=')
    answers = [await limited.request("GET", PATH) for _ in range(12)]

    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    for answer in refused:
        assert answer.headers["RateLimit-Policy"].endswith(', "token";q=2;w=1')
        assert '"token";r=0;t=' in answer.headers["RateLimit"]
        assert int(answer.headers["Retry-After"]) >= 1
    assert (await service.client.request("GET", PATH)).status == 200
    # The rate limit does not count requests with an unknown token.
    unknown = await replace(limited, token="unknown").request("GET", PATH)
    assert "RateLimit" not in unknown.headers
