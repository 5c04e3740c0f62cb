"""Check before a process starts that the broker is of a supported kind."""

from typing import Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.errors import SettingsError
from shared.settings import Settings

TIMEOUT_S: Final = 1.0

CLUSTER: Final = (
    "the broker is in cluster mode (cluster-enabled yes), which is not supported: one command"
    " reads from all queues, and a cluster distributes them. Use a Redis or Valkey without"
    " cluster mode"
)


async def refuse_cluster(settings: Settings) -> None:
    """Raise SettingsError if the broker is known to be in cluster mode.

    A broker that is unavailable or does not report its mode is accepted: the service can start
    without it.
    """
    try:
        client: redis.asyncio.Redis = redis.asyncio.from_url(
            settings.broker_url.get_secret_value(),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        async with client:
            found = await client.info("cluster")
    except (RedisError, OSError, ValueError, TypeError):
        return
    if isinstance(found, dict) and found.get("cluster_enabled"):
        raise SettingsError(f"ATTACHMENTS_BROKER_URL: {CLUSTER}")
