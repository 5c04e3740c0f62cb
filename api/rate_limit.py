"""Rate limits of organizations and tokens per second. Each process counts its own requests."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from api.problems import too_many_requests
from shared.tokens import Caller

IDLE_S = 1.0
"""A bucket without requests for this time is full again, so it need not be kept."""

MAX_BUCKETS = 20_000
"""Maximum number of buckets; beyond it idle ones are removed."""

Key = tuple[str, int]
"""`o` and an organization's id, or `t` and a token's id."""

FIELDS = web.RequestKey("rate limit fields", dict)
"""The fields `RateLimit` and `RateLimit-Policy` for the answer to a request."""

NAMES = {"o": "organization", "t": "token"}


@dataclass(slots=True)
class Bucket:
    """The requests that this process may still admit for one key: `left` at the time `at`."""

    limit: int
    left: float
    at: float

    def fill(self, now: float) -> None:
        """Add the requests that have become available since the last call."""
        self.left = min(float(self.limit), self.left + (now - self.at) * self.limit)
        self.at = now

    def retry_after_s(self) -> int:
        """Return whole seconds until a request may be admitted."""
        return max(1, math.ceil((1 - self.left) / self.limit))


class RateLimit:
    """Counts requests of organizations and tokens; `rate` is per second, 0 means no limit.

    A token may have a limit in addition to the limit of its organization. `clock` returns monotonic
    seconds.
    """

    def __init__(self, rate: int, *, clock: Callable[[], float] | None = None) -> None:
        self._rate = rate
        self.clock = clock or asyncio.get_running_loop().time
        self.buckets: dict[Key, Bucket] = {}

    def spend(self, request: web.Request, caller: Caller) -> None:
        """Count one request. Raises Problem 429 above a limit; a refused request is not counted."""
        now, buckets = self.clock(), []
        if self._rate:
            buckets.append(self._bucket(("o", caller.organization_id), self._rate, now))
        if caller.rate_limit is not None:
            buckets.append(self._bucket(("t", caller.token_id), caller.rate_limit, now))
        if not buckets:
            return
        full = any(bucket.left < 1 for _, bucket in buckets)
        for _, bucket in buckets:
            if not full:
                bucket.left -= 1
        request[FIELDS] = _fields(buckets)
        if full:
            wait_s = max(each.retry_after_s() for _, each in buckets if each.left < 1)
            raise too_many_requests(retry_after_s=wait_s)

    def _bucket(self, key: Key, limit: int, now: float) -> tuple[Key, Bucket]:
        bucket = self.buckets.get(key)
        if bucket is None or bucket.limit != limit:
            if len(self.buckets) >= MAX_BUCKETS:
                self._forget_idle(now)
            bucket = self.buckets[key] = Bucket(limit, float(limit), now)
        bucket.fill(now)
        return key, bucket

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
    """Add the fields of the rate limits to the answer of a request that was counted."""
    if (shown := request.get(FIELDS)) is not None:
        response.headers.update(shown)
