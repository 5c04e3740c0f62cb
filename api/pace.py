"""A delay for error answers to unauthenticated requests, so that a flood cannot occupy the event
loop.

Such an answer costs as much time as an answer to a known caller. A connection's next request is
read only after the answer to the previous one. So a delayed answer slows a flood down, and the
delay itself costs no CPU time.
"""

import asyncio

REFUSALS_PER_S = 200.0
BURST = 100
"""Number of error answers to unauthenticated requests that one process sends without delay. Further
ones are sent at REFUSALS_PER_S."""

LONGEST_S = 1.0
"""Maximum delay of an error answer to an unauthenticated request, in seconds."""


class Pace:
    """Spreads error answers to unauthenticated requests over time.

    It stores only one time: the earliest time at which the next such answer may be sent.
    """

    def __init__(
        self, *, per_s: float = REFUSALS_PER_S, burst: int = BURST, longest_s: float = LONGEST_S
    ) -> None:
        self._step_s = 1 / per_s
        self._burst_s = burst / per_s
        self._longest_s = longest_s
        self._next = 0.0

    def delay_s(self, now: float) -> float:
        """Reserve the next free time for one answer. Returns the seconds until then.

        `now` is monotonic seconds.
        """
        moment = max(self._next, now - self._burst_s) + self._step_s
        self._next = min(moment, now + self._longest_s)
        return max(0.0, self._next - now)

    async def wait(self) -> None:
        """Wait for the moment at which the answer may be sent."""
        delay_s = self.delay_s(asyncio.get_running_loop().time())
        if delay_s:
            await asyncio.sleep(delay_s)
