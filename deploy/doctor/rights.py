"""Check that the broker's user may run all commands that workers and publishers need."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

from redis.exceptions import NoPermissionError, RedisError

from deploy.doctor.examination import Examination, Verdict, failed, ok
from shared.broker_faults import describe
from shared.deployment import find_prefix

Attempt = Callable[[Any, str], Awaitable[Any]]

SCRIPT: Final = "return redis.call('get', KEYS[1])"

_PARTS: Final = ("list", "set", "index", "hash", "mutex")

ATTEMPTS: Final[dict[str, Attempt]] = {
    "lpush": lambda client, key: client.lpush(f"{key}:list", "x"),
    "rpush": lambda client, key: client.rpush(f"{key}:list", "x"),
    "llen": lambda client, key: client.llen(f"{key}:list"),
    "brpop": lambda client, key: client.brpop([f"{key}:list"], timeout=0.01),
    "sadd": lambda client, key: client.sadd(f"{key}:set", "x"),
    "smembers": lambda client, key: client.smembers(f"{key}:set"),
    "zadd": lambda client, key: client.zadd(f"{key}:index", {"x": 1}),
    "zrange": lambda client, key: client.zrange(f"{key}:index", 0, 1),
    "zrem": lambda client, key: client.zrem(f"{key}:index", "x"),
    "hset": lambda client, key: client.hset(f"{key}:hash", "x", "1"),
    "hget": lambda client, key: client.hget(f"{key}:hash", "x"),
    "hdel": lambda client, key: client.hdel(f"{key}:hash", "x"),
    "set": lambda client, key: client.set(f"{key}:mutex", "x", nx=True, px=1000),
    "get": lambda client, key: client.get(f"{key}:mutex"),
    "script|load": lambda client, key: client.script_load(SCRIPT),
    "evalsha": lambda client, key: client.register_script(SCRIPT)(keys=[f"{key}:mutex"]),
    "time": lambda client, _key: client.time(),
    "watch": lambda client, key: _watch(client, f"{key}:hash"),
    "multi": lambda client, key: _exchange(client, f"{key}:hash"),
    "del": lambda client, key: client.delete(*(f"{key}:{part}" for part in _PARTS)),
}
"""The commands that kombu's Redis transport and the shared rate limits need. The keys are the names
of the commands in ACL rules. Each value is a function that runs the command."""

KEYLESS: Final = frozenset({"script|load", "time"})
"""The commands that have no key as an argument. The rights to keys do not matter for them."""


async def _watch(client: Any, key: str) -> None:
    async with client.pipeline() as pipeline:
        await pipeline.watch(key)
        await pipeline.unwatch()


async def _exchange(client: Any, key: str) -> None:
    async with client.pipeline(transaction=True) as pipeline:
        await pipeline.hget(key, "x").execute()


async def check_rights(examination: Examination) -> Verdict:
    """Run each needed command on keys that only this check uses. Then remove the keys."""
    from deploy.doctor.broker import connect

    prefix = await find_prefix(examination.database, examination.settings)
    key = f"{prefix}doctor:{uuid4().hex}"
    missing = []
    try:
        async with connect(examination) as client:
            for name, attempt in ATTEMPTS.items():
                try:
                    await attempt(client, key)
                except NoPermissionError:
                    missing.append(name)
    except (RedisError, OSError) as error:
        return failed(f"the broker does not serve us: {describe(error)}", _MEND)
    if not missing:
        return ok(f"keys begin with {prefix}")
    if "llen" in missing and set(missing) >= ATTEMPTS.keys() - KEYLESS:
        found = f"the user may not use keys that begin with {prefix}"
    else:
        found = f"the user may not: {', '.join(missing)}"
    rules = " ".join(f"+{name}" for name in (*ATTEMPTS, "exec", "unwatch", "select", "ping"))
    return failed(found, f"ACL SETUSER … ~{prefix}* {rules} (and +info +client|list for checks)")


_MEND: Final = "grant it there; uploads are processed meanwhile, but late, by the workers' sweep"
