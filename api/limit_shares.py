"""Let all API processes of a deployment share one rate limit, through counts in the broker.

While there is traffic, a process reports in the background how many requests it has admitted. From
the answer, it learns how many requests all processes together may still admit, and how many
processes there are. Requests are counted in memory and never wait for the broker. While the broker
is away, each process applies the whole limit by itself.
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
"""Interval, in seconds, of reports while there are requests. Without requests there are no
reports."""

PAUSE_AWAY_S: Final = 1.0
"""Pause, in seconds, after a report that failed."""

TIMEOUT_S: Final = 0.5
"""Timeout of a report to the broker, in seconds."""

MAX_KEYS: Final = 200
"""Maximum number of counts in one report, so that the broker is busy for only 1 to 2 ms. If there
are more counts, some of them are sent with a later report."""

SEEN_S: Final = 2.0
"""Only processes whose last report is at most this many seconds old get a share of the limit."""

DEBT_S: Final = FORGET_S - 1
"""If the processes together have admitted too many requests, they later admit fewer. This lasts at
most DEBT_S seconds. So after FORGET_S seconds without requests, the full limit is available again,
and the broker may delete the count."""

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
"""A Lua script that adds a process's requests to shared counts. KEYS are the names of the counts.
ARGV[1] is the process. For each count, two further values follow: the limit, and the number of
admitted requests. The script returns two numbers for each count: the requests that may still be
admitted (negative if too many were admitted), and the processes that share the limit."""


class LimitShares:
    """Reports to the broker how many requests this process has admitted.

    If a report fails, this process applies the whole limit by itself. No request waits for a
    report. `learn_prefix` returns the prefix of the service's keys at the broker.
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
        """Report to the broker until cancelled, as long as there are requests."""
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
        """Send one report to the broker. Returns False if the broker did not accept it.

        A failure is not logged here: the timeout TIMEOUT_S is so short that a failure need not be
        an outage. The publisher checks the broker every ten seconds, and logs outages.
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
        except Exception:  # after any error, this process applies the whole limit by itself
            self._limits.alone = True
            return False
        self._limits.learn(known)
        return True

    def _script(self) -> Any:
        """Return the Lua script, ready to call.

        The broker's client opens one connection at the first use.
        """
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

    The broker's client may turn a cancellation into an error of its connection. Without this check,
    the task would continue, and the API would wait for it forever when it stops.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
