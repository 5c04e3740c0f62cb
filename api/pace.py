"""The pace at which strangers are refused: a flood of refusals must not take the event loop.

Each refusal costs as much as an answer to a caller. One connection waits for its answer before the
next request of it is read, so a late answer slows a flood down and costs nothing.
"""

import asyncio

REFUSALS_PER_S = 200.0
BURST = 100
"""So many refusals are answered at once, then REFUSALS_PER_S, in each process."""

LONGEST_S = 1.0
"""No refusal waits longer, however many there are."""


class Pace:
    """Spreads refusals over time; it keeps no list of who waits."""

    def __init__(
        self, *, per_s: float = REFUSALS_PER_S, burst: int = BURST, longest_s: float = LONGEST_S
    ) -> None:
        self._step_s = 1 / per_s
        self._burst_s = burst / per_s
        self._longest_s = longest_s
        self._next = 0.0

    def delay_s(self, now: float) -> float:
        """Take the next place; returns how long to wait for it. `now` is in monotonic seconds."""
        place = max(self._next, now - self._burst_s) + self._step_s
        self._next = min(place, now + self._longest_s)
        return max(0.0, self._next - now)

    async def wait(self) -> None:
        """Wait until a refusal may be answered."""
        delay_s = self.delay_s(asyncio.get_running_loop().time())
        if delay_s:
            await asyncio.sleep(delay_s)
