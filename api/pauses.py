"""Pauses of a handler: until an event, or for a moment so that other requests are served."""

import asyncio

RESOURCES_AT_ONCE = 25
"""Number of resources that a handler writes or signs before it pauses. This takes about 2 ms."""


async def pause_after(written: int) -> None:
    """Let the event loop serve other requests after every RESOURCES_AT_ONCE written resources."""
    if written % RESOURCES_AT_ONCE == 0:
        await asyncio.sleep(0)


async def is_set_within(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event. Returns True if it is set before the timeout, in seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
