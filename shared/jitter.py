"""Random waits, so that waits that began at the same moment do not all end at the same moment."""

import random


def spread(wait_s: float, share: float = 0.2) -> float:
    """Return a wait that is randomly longer or shorter by up to `share` of it; in seconds."""
    return wait_s * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret


def within(longest_s: float) -> float:
    """Return a random wait from 0 to `longest_s` seconds."""
    return random.uniform(0, longest_s)  # noqa: S311 - no secret
