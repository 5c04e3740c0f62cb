"""Let all API processes of a deployment share one rate limit, by counts that the broker keeps.

A process reports in the background, while there is traffic, what it admitted, and learns how much
all processes together may still admit and how many they are. Requests are counted in memory and
never wait for the broker. While the broker is away, each process has the whole limit for itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api.rate_limit import FORGET_S, Key, RateLimit

EVERY_S: Final = 0.2
"""Seconds between two reports while there is traffic; without requests there are none."""

PAUSE_AWAY_S: Final = 1.0
"""Seconds until the next report after one that failed."""

TIMEOUT_S: Final = 0.5
"""Seconds for which a report waits for the broker."""

MAX_KEYS: Final = 200
"""Maximum number of counts in one report, so that the broker is busy for 1 to 2 ms. If more
organizations and tokens send requests at once, their counts take turns."""

SEEN_S: Final = 2.0
"""A process that asked within so many seconds has a share of the limit."""

DEBT_S: Final = FORGET_S - 1
"""If processes admitted more than the limit, it is withheld later, up to the requests of so many
seconds. After FORGET_S a count is full again, so the broker may forget it."""

SCRIPT: Final = f"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local answer = {{}}
for i, key in ipairs(KEYS) do
  local limit, spent = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local kept = redis.call('GET', key)
  local count = kept and cjson.decode(kept) or {{left = limit, at = now, seen = {{}}}}
  local left = math.min(limit, count.left + math.max(0, now - count.at) * limit) - spent
  left = math.max(left, -{DEBT_S} * limit)
  count.seen[ARGV[1]] = now
  local processes = 0
  for process, at in pairs(count.seen) do
    if now - at > {SEEN_S} then
      count.seen[process] = nil
    else
      processes = processes + 1
    end
  end
  local seconds = math.max({SEEN_S}, (limit - left) / limit)
  local value = cjson.encode({{left = left, at = now, seen = count.seen}})
  redis.call('SET', key, value, 'PX', math.ceil(seconds * 1000))
  answer[i] = {{tostring(left), processes}}
end
return answer
"""
"""Keys: the counts. Arguments: the process, then for each count the limit and what was spent.
Returns for each count the requests that are left, negative after too many, and the processes."""


class LimitShares:
    """Reports what a process admitted; nobody waits for it, and its faults have no effect but that
    the process counts alone.

    `learn_prefix` returns the prefix of all our keys at the broker.
    """

    def __init__(
        self, limits: RateLimit, broker_url: str, learn_prefix: Callable[[], Awaitable[str]]
    ) -> None:
        self._limits = limits
        self._broker_url = broker_url
        self._learn_prefix = learn_prefix
        self._process = uuid4().hex[:8]
        self._client: Any = None
        self._call: Any = None

    async def run(self) -> None:
        """Report until cancelled."""
        prefix = await self._learn_prefix()
        try:
            while True:
                await self._limits.asked.wait()
                await asyncio.sleep(EVERY_S)
                is_taken = await self._report(f"{prefix}rate:")
                _end_if_cancelled()
                if not is_taken:
                    await asyncio.sleep(PAUSE_AWAY_S)
        finally:
            if self._client is not None:
                await self._client.aclose()

    async def _report(self, prefix: str) -> bool:
        """Report once; return False if the broker did not take the report.

        An outage of the broker is not logged here: the publisher looks at the broker every ten
        seconds, and may wait longer for it than this report does.
        """
        spent = self._limits.take(MAX_KEYS)
        keys = [f"{prefix}{kind}:{number}" for kind, number in spent]
        counts = [each for pair in spent.values() for each in pair]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answers = await self._script()(keys=keys, args=[self._process, *counts])
            known: dict[Key, tuple[float, int]] = {
                key: (float(left), max(1, int(processes)))
                for key, (left, processes) in zip(spent, answers, strict=True)
            }
        except Exception:  # any error of the broker's client
            self._limits.alone = True
            return False
        self._limits.learn(known)
        return True

    def _script(self) -> Any:
        """Return the script of a client with one connection, which is opened when it is needed."""
        if self._client is None:
            self._client = redis.asyncio.from_url(
                self._broker_url,
                max_connections=1,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
            self._call = self._client.register_script(SCRIPT)
        return self._call


def _end_if_cancelled() -> None:
    """Raise CancelledError if this task was cancelled.

    The broker's client may turn a cancellation into an error of its connection. Without this check
    the task would go on, and the API would wait for it for ever at its end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
