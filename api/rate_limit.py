"""Rate limits of organizations and tokens per second, counted in memory.

All processes share each limit. `api.limit_shares` learns this process's share.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from aiohttp import web

from api.problems import too_many_requests
from shared.tokens import Caller

IDLE_S = 1.0
"""After this many seconds without requests, a bucket is full again and can be removed."""

FORGET_S = 5.0
"""After this many seconds without requests, a bucket forgets its share and starts again as a new
one."""

MAX_BUCKETS = 20_000
"""Maximum number of buckets. If there are more, idle ones are removed."""

Key = tuple[str, int]
"""The key of a bucket: `o` with the id of an organization, or `t` with the id of a token."""

FIELDS = web.RequestKey("rate limit fields", dict)
"""The header fields `RateLimit` and `RateLimit-Policy` for the answer to a request."""

NAMES = {"o": "organization", "t": "token"}


@dataclass(slots=True)
class Bucket:
    """The number of requests that this process may still admit for a key: `left` at the time `at`.

    `share` is this process's part of the limit, from 0 to 1. `spent` is the number of requests that
    this process has admitted and not reported yet.
    """

    limit: int
    left: float
    at: float
    share: float = 1.0
    spent: int = 0

    def fill(self, now: float) -> None:
        """Add the requests that have become available since the last call."""
        rate = self.limit * self.share
        self.left = min(max(1.0, rate), self.left + (now - self.at) * rate)
        self.at = now

    def learn(self, left: float, processes: int, now: float) -> None:
        """Set the number of requests that this process may still admit.

        All `processes` together may still admit `left` requests, and each process gets an equal
        share. If this share is less than 1, but `left` is at least 1, each process may admit one
        request. The processes may then admit too many requests, and admit fewer later. Without this
        rule, a limit below the number of processes would admit nothing.
        """
        self.share = 1 / processes
        mine = left * self.share
        self.left = (max(1.0, mine) if left >= 1 else mine) - self.spent
        self.at = now

    def retry_after_s(self) -> int:
        """Return the number of whole seconds until a request may be admitted."""
        return max(1, math.ceil((1 - self.left) / (self.limit * self.share)))


class RateLimit:
    """Counts requests of organizations and tokens. `rate` is per second; 0 means no limit.

    A token may have a limit in addition to the limit of its organization. `clock` returns monotonic
    seconds.
    """

    def __init__(self, rate: int, *, clock: Callable[[], float] | None = None) -> None:
        self._rate = rate
        self.clock = clock or asyncio.get_running_loop().time
        self.buckets: dict[Key, Bucket] = {}
        self.alone = True
        """True if this process uses the whole limit, because it knows nothing of other
        processes."""
        self.asked = asyncio.Event()
        """Set while there are requests that were not reported to the other processes."""
        self._unreported: dict[Key, None] = {}

    def spend(self, request: web.Request, caller: Caller) -> None:
        """Count one request. Above a limit, raises Problem 429 and does not count the request."""
        now, buckets = self.clock(), []
        if self._rate:
            buckets.append(self._bucket(("o", caller.organization_id), self._rate, now))
        if caller.rate_limit is not None:
            buckets.append(self._bucket(("t", caller.token_id), caller.rate_limit, now))
        if not buckets:
            return
        full = False
        for _, bucket in buckets:
            full = full or bucket.left < 1
        for key, bucket in buckets:
            self._unreported[key] = None
            if not full:
                bucket.left -= 1
                bucket.spent += 1
        self.asked.set()
        request[FIELDS] = _fields(buckets)
        if full:
            wait_s = max(each.retry_after_s() for _, each in buckets if each.left < 1)
            raise too_many_requests(retry_after_s=wait_s)

    def _bucket(self, key: Key, limit: int, now: float) -> tuple[Key, Bucket]:
        bucket = self.buckets.get(key)
        if bucket is None or bucket.limit != limit or now - bucket.at > FORGET_S:
            if len(self.buckets) >= MAX_BUCKETS:
                self._forget_idle(now)
            bucket = self.buckets[key] = Bucket(limit, float(limit), now)
        if self.alone:
            bucket.share = 1.0
        bucket.fill(now)
        return key, bucket

    def take(self, at_most: int) -> dict[Key, tuple[int, int]]:
        """Return each key's limit and number of unreported requests, and count them as reported.

        Returns at most `at_most` keys; those that have waited longest come first. If all requests
        of a key were answered with 429, the number is 0. The key is returned all the same, because
        its share may have changed.
        """
        taken: dict[Key, tuple[int, int]] = {}
        for key in list(islice(self._unreported, at_most)):
            del self._unreported[key]
            if (bucket := self.buckets.get(key)) is not None:
                taken[key] = bucket.limit, bucket.spent
                bucket.spent = 0
        if not self._unreported:
            self.asked.clear()
        return taken

    def learn(self, known: Mapping[Key, tuple[float, int]]) -> None:
        """Set what this process may still admit for each key in `known`.

        The values are what all processes together may still admit, and the number of processes.
        """
        self.alone, now = False, self.clock()
        for key, (left, processes) in known.items():
            if (bucket := self.buckets.get(key)) is not None:
                bucket.learn(left, processes, now)

    def _forget_idle(self, now: float) -> None:
        idle = [key for key, each in self.buckets.items() if now - each.at > IDLE_S]
        for key in idle or list(self.buckets)[: MAX_BUCKETS // 2]:
            del self.buckets[key]


def _fields(buckets: Iterable[tuple[Key, Bucket]]) -> dict[str, str]:
    """Return the header fields of the limits (draft-ietf-httpapi-ratelimit-headers-10)."""
    policies, left = [], []
    for (kind, _), bucket in buckets:
        name = NAMES[kind]
        policies.append(f'"{name}";q={bucket.limit};w=1')
        wait_s = 1 if bucket.left >= 1 else bucket.retry_after_s()
        left.append(f'"{name}";r={max(0, int(bucket.left))};t={wait_s}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}


def show_limits(request: web.Request, response: web.StreamResponse) -> None:
    """Add the header fields of the rate limits to an answer, if its request was counted."""
    if (shown := request.get(FIELDS)) is not None:
        response.headers.update(shown)
