"""Random waits, so that many that began at one moment do not all end at one moment."""

import random


def spread(wait_s: float, share: float = 0.2) -> float:
    """Make a wait longer or shorter at random, by up to `share` of it."""
    return wait_s * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret


def within(longest_s: float) -> float:
    """Give a wait of any length up to the longest."""
    return random.uniform(0, longest_s)  # noqa: S311 - no secret
