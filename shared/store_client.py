"""Open the S3 client of the store with the settings, and with botocore's credentials."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError, PartialCredentialsError, ProfileNotFound

from shared.credentials import open_session
from shared.errors import SettingsError
from shared.part_settings import StoreSettings
from shared.storage import Storage
from shared.web_proxies import client_proxies, trusted

if TYPE_CHECKING:
    pass


@asynccontextmanager
async def open_storage(
    settings: StoreSettings, *, connections: int = 16, read_timeout_s: float = 20
) -> AsyncIterator[Storage]:
    """Open the store's client; send no request yet. botocore finds the credentials.

    `read_timeout_s` is the longest time without data from the store. For a copy, allow minutes.
    Raises SettingsError if the credentials or the endpoint are configured wrongly.
    """
    store = settings.store
    trusted()  # reports unreadable certificates now: botocore reads them only at the first request
    session = open_session(store.client_region)
    config = AioConfig(
        signature_version="s3v4",
        connect_timeout=3,
        read_timeout=read_timeout_s,
        max_pool_connections=connections,
        retries={"total_max_attempts": 2, "mode": "standard"},
        s3=store.s3,
        proxies=client_proxies(store.url),
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                session.create_client(
                    "s3",
                    region_name=store.client_region,
                    endpoint_url=store.endpoint_url,
                    config=config,
                )
            )
        except (ProfileNotFound, PartialCredentialsError) as error:  # messages without secrets
            raise SettingsError(f"AWS credentials: {type(error).__name__}: {error}") from None
        except (BotoCoreError, ClientError, OSError, KeyError) as error:
            # botocore may have run a program or read a file, so the message may contain secrets.
            raise SettingsError(f"AWS credentials: {type(error).__name__}") from None
        except ValueError:
            raise SettingsError(
                "ATTACHMENTS_S3_ENDPOINT_URL: is not an address that the S3 client accepts"
            ) from None
        yield Storage(client, session, settings.s3_bucket)
