"""Check at the start of a process whether the broker is a cluster, which the service cannot use."""

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
    """Raise SettingsError if the broker reports that it is in cluster mode.

    No error is raised if the broker is unavailable or does not report its mode, because the service
    can start without the broker.
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
