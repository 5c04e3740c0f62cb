"""Rate limit of each organization's requests: a token bucket that holds one second's requests."""

import asyncio

from api.problems import too_many_requests


class RateLimit:
    """Counts organizations' requests in this process; `rate` is per second, 0 means no limit."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._allowance: dict[int, tuple[float, float]] = {}

    def spend(self, organization_id: int) -> None:
        """Count one request of an organization. Raises Problem 429 above its rate."""
        if not self._rate:
            return
        now = asyncio.get_running_loop().time()
        left, since = self._allowance.get(organization_id, (float(self._rate), now))
        left = min(float(self._rate), left + (now - since) * self._rate)
        if left < 1:
            self._allowance[organization_id] = (left, now)
            raise too_many_requests(retry_after_s=1)
        self._allowance[organization_id] = (left - 1, now)
