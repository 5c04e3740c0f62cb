"""Check that the broker answers and keeps its messages, and that a worker waits for messages."""

import asyncio
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from deploy.client.network_faults import fault_of
from deploy.doctor.examination import Examination, Verdict, failed, ok, warning
from shared.broker_check import CLUSTER
from shared.broker_faults import describe, server_of

OLDEST = 7
TIMEOUT_S = 3.0
LOOKS = 10
LOOK_EVERY_S = 0.2
"""Interval, in seconds, between two checks for a waiting worker. There are several checks, because
a worker that has just received a message does not wait at that moment.
"""


def connect(examination: Examination) -> "redis.asyncio.Redis":
    """Return a client of the configured broker with timeouts of TIMEOUT_S and without retries."""
    client: redis.asyncio.Redis = redis.asyncio.from_url(
        examination.settings.broker_url.get_secret_value(),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    return client


async def check_broker(examination: Examination) -> Verdict:
    """Check that the broker answers, is new enough and accepts writes."""
    where = server_of(examination.settings.broker_url.get_secret_value())
    try:
        async with connect(examination) as client:
            await client.ping()
            try:
                info: dict[str, Any] = await client.info()
            except ResponseError:
                info = {}
    except (AuthenticationError, NoPermissionError):
        return failed(
            f"the broker at {where} refuses the user or the password",
            "correct ATTACHMENTS_BROKER_URL",
        )
    except (RedisTimeoutError, TimeoutError):
        return failed(f"the broker at {where} does not answer in time", _lead_there())
    except ResponseError as error:
        return failed(
            f"the broker at {where} refuses us: {describe(error)}", "correct ATTACHMENTS_BROKER_URL"
        )
    except (RedisError, OSError) as error:
        return failed(
            f"the broker at {where} cannot be reached: {fault_of(error.__context__ or error)}",
            _lead_there(),
        )
    examination.broker = {name: str(value) for name, value in info.items()}
    return judge(examination.broker, where)


def _lead_there() -> str:
    return (
        "start it, and check that ATTACHMENTS_BROKER_URL and the network lead to it;"
        " uploads are processed meanwhile, but late, by the workers' sweep"
    )


def judge(info: dict[str, str], where: str) -> Verdict:
    """Return the verdict on a broker from its answer to INFO."""
    version = info.get("valkey_version") or info.get("redis_version")
    if version is None:
        return warning(
            "the broker answers, but does not allow INFO",
            "allow the user INFO (ACL SETUSER … +info), so that it can be checked",
        )
    name = f"Valkey {version}" if "valkey_version" in info else f"Redis {version}"
    if "valkey_version" not in info and int(version.split(".")[0]) < OLDEST:
        return failed(f"{name} is too old", f"upgrade to Redis {OLDEST} or newer, or to Valkey")
    if info.get("redis_mode") == "cluster" or info.get("cluster_enabled") == "1":
        return failed(f"{name}: {CLUSTER}", "point ATTACHMENTS_BROKER_URL to such a server")
    if info.get("role") == "slave":
        return failed(f"{name} is a replica", "point ATTACHMENTS_BROKER_URL to the primary")
    if info.get("loading") == "1":
        return failed(f"{name} is still loading its data", "wait until it has")
    return ok(f"{name} at {where}")


async def check_persistence(examination: Examination) -> Verdict:
    """Check that the broker keeps its messages at a restart. Losing them only delays uploads."""
    enabled = examination.broker.get("aof_enabled")
    mend = (
        "set appendonly yes and appendfsync everysec;"
        " without them a restart delays uploads by some seconds, until a sweep"
    )
    if enabled is None:
        return warning(
            "the broker does not allow INFO", f"{mend} (INFO persistence is not allowed)"
        )
    if enabled != "1":
        return warning("no append-only file: wake-ups are lost when the broker restarts", mend)
    if examination.broker.get("aof_last_write_status", "ok") != "ok":
        return failed(
            "the append-only file cannot be written", "look at the broker's disk and its log"
        )
    return ok("append-only file")


async def check_eviction(examination: Examination) -> Verdict:
    """Check that the broker never evicts messages to free memory."""
    policy = examination.broker.get("maxmemory_policy")
    limited = examination.broker.get("maxmemory", "0") != "0"
    mend = "set maxmemory-policy noeviction, and give the queue an instance of its own"
    if policy is None:
        return warning("the broker does not allow INFO", f"{mend} (INFO memory is not allowed)")
    if policy == "noeviction":
        return ok("noeviction")
    if limited:
        return failed(f"{policy}: messages are deleted when memory is full", mend)
    return warning(f"{policy}, without effect while maxmemory is not set", mend)


async def check_worker(examination: Examination) -> Verdict:
    """Check that a worker waits for messages."""
    try:
        async with connect(examination) as client:
            for _ in range(LOOKS):
                waiting = await _count_waiting(client)
                if waiting:
                    return ok(f"{waiting} {'worker' if waiting == 1 else 'workers'} listening")
                await asyncio.sleep(LOOK_EVERY_S)
    except ResponseError:
        return warning(
            "the broker does not allow CLIENT LIST",
            "check that `attachments worker` runs, or allow the user CLIENT LIST",
        )
    except (RedisError, OSError) as error:
        return failed(
            f"the connection to the broker was lost ({type(error).__name__})", _lead_there()
        )
    return failed(
        "no worker listens to the broker",
        "start `attachments worker`, with the same ATTACHMENTS_BROKER_URL as here",
    )


async def _count_waiting(client: "redis.asyncio.Redis") -> int:
    database = str(client.connection_pool.connection_kwargs.get("db") or 0)
    return sum(
        each.get("cmd") == "brpop" and each.get("db") == database
        for each in await client.client_list()
    )
