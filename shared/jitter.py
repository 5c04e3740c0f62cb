"""Random waiting times, so that processes that begin to wait together do not end together."""

import random


def spread(wait_s: float, share: float = 0.2) -> float:
    """Return a random wait: `wait_s` seconds, plus or minus up to the fraction `share` of it."""
    return wait_s * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret


def within(longest_s: float) -> float:
    """Return a random wait from 0 to `longest_s` seconds."""
    return random.uniform(0, longest_s)  # noqa: S311 - no secret
