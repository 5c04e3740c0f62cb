"""The rate limit for requests that the API refuses.

The API answers the requests of a burst immediately, and later requests after a short wait.
"""

import pytest

from api.pace import Pace


def test_a_burst_is_answered_at_once_and_the_rest_at_an_even_pace() -> None:
    pace = Pace(per_s=10, burst=3, longest_s=1)
    delays = [pace.delay_s(100.0) for _ in range(6)]
    assert delays == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


def test_no_refusal_waits_longer_than_the_longest() -> None:
    pace = Pace(per_s=10, burst=1, longest_s=0.5)
    delays = [pace.delay_s(100.0) for _ in range(1000)]
    assert max(delays) == pytest.approx(0.5)
    assert pace.delay_s(100.7) == 0


def test_a_burst_is_allowed_again_after_a_pause() -> None:
    pace = Pace(per_s=10, burst=3, longest_s=1)
    for _ in range(8):
        pace.delay_s(100.0)
    assert [pace.delay_s(103.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])
