"""Find the bucket's address as botocore does: by its endpoint rules and environment variables.

A botocore client prepares a request. The address is read from the request, which is never sent. So
the service's clients get the same address that the service itself uses.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    EndpointProviderError,
    InvalidRegionError,
    ProfileNotFound,
)

from shared.aws_models import share_models
from shared.errors import SettingsError

USUAL_REGION = "us-east-1"
_KEY = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """The bucket's address, and the arguments for a botocore client that uses it.

    `url` is the bucket's address, without a slash at its end. `region` is the region for
    signatures. `endpoint_url`, `client_region` and `s3` are the client's arguments.
    """

    url: str
    region: str
    endpoint_url: str | None
    client_region: str
    s3: dict[str, Any] | None


class _NoBody:
    """The empty body of the answer to the request that is not sent."""

    def stream(self) -> list[bytes]:
        """Return no data."""
        return []


def find_store(bucket: str, region: str | None, endpoint_url: str | None) -> StoreAddress:
    """Find the address of a bucket. Takes about 0.1 s.

    Without `endpoint_url`, the store is AWS. botocore then also reads the AWS_* variables and its
    config file. If `region` is None, the variables or the file give the region. With
    `endpoint_url`, they do not change the address. Raises SettingsError if botocore has no address
    for this bucket.
    """
    if endpoint_url is not None:
        return _find_own(bucket, region or USUAL_REGION, endpoint_url)
    if bucket.endswith("--x-s3"):
        # Amazon S3 User Guide, "Differences for directory buckets"
        raise SettingsError("ATTACHMENTS_S3_BUCKET: a directory bucket takes no POST policies")
    return _find(bucket, region, None, s3=None)


@lru_cache(maxsize=16)
def _find_own(bucket: str, region: str, endpoint_url: str) -> StoreAddress:
    return _find(
        bucket,
        region,
        endpoint_url,
        # With an `endpoint_url`, botocore's `auto` means the path style.
        s3={"addressing_style": "auto", "use_accelerate_endpoint": False},
    )


def _find(
    bucket: str, region: str | None, endpoint_url: str | None, *, s3: dict[str, Any] | None
) -> StoreAddress:
    seen: list[tuple[str, str]] = []

    def catch(request: Any, **_: Any) -> AWSResponse:
        signature = request.headers["Authorization"]
        text = signature.decode() if isinstance(signature, bytes) else signature
        seen.append((request.url, text))
        headers: Any = HeadersDict  # Any: the type stubs want urllib3's class
        return AWSResponse(request.url, 200, headers(), _NoBody())  # so botocore sends nothing

    try:
        session = botocore.session.Session()
        share_models(session)
        client_region = region or session.get_config_variable("region") or USUAL_REGION
        client: Any = session.create_client(
            "s3",
            region_name=client_region,
            endpoint_url=endpoint_url,
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106 - signs a request that is never sent
            config=Config(signature_version="s3v4", s3=s3),  # type: ignore[arg-type]  # any dict
        )
        client.meta.events.register("before-send.s3", catch)
        client.head_object(Bucket=bucket, Key=_KEY)
    except ProfileNotFound as error:  # its message has only the name of the profile
        raise SettingsError(f"AWS credentials: ProfileNotFound: {error}") from None
    except InvalidRegionError:
        name = "ATTACHMENTS_S3_REGION" if region else "AWS_DEFAULT_REGION"
        raise SettingsError(f"{name}: must be a region such as eu-west-1") from None
    except EndpointProviderError as error:  # its message is from botocore's ruleset, without values
        raise SettingsError(f"ATTACHMENTS_S3_BUCKET: has no address at AWS: {error}") from None
    except BotoCoreError as error:
        raise SettingsError(f"AWS settings: {type(error).__name__}") from None
    except ValueError:
        name = "ATTACHMENTS_S3_ENDPOINT_URL" if endpoint_url else "AWS_ENDPOINT_URL"
        raise SettingsError(f"{name}: is not an address that the S3 client accepts") from None
    url, authorization = seen[-1]
    scope = authorization.partition("Credential=")[2].split("/")
    return StoreAddress(
        url=url.removesuffix(f"/{_KEY}"),
        region=scope[2],
        endpoint_url=endpoint_url,
        client_region=client_region,
        s3=s3,
    )
