"""Check that the store accepts the credentials and answers 404, not 403, for a missing object."""

import secrets

from deploy.doctor.examination import Examination, Verdict, failed, ok
from shared.errors import ObjectMissing, SettingsError, StoreRefused, StoreUnavailable
from shared.keys import PREFIX
from shared.store_client import open_storage

REFUSALS = {
    "NoSuchBucket": ("there is no such bucket", "create it, or correct ATTACHMENTS_S3_BUCKET"),
    "InvalidAccessKeyId": (
        "the store does not know the access key",
        "correct AWS_ACCESS_KEY_ID, or another source of the credentials",
    ),
    "SignatureDoesNotMatch": (
        "the secret key does not belong to the access key",
        "correct AWS_SECRET_ACCESS_KEY, or another source of the credentials",
    ),
    "ExpiredToken": (
        "the temporary credentials have ended",
        "renew them, or use a source that botocore renews by itself",
    ),
    "InvalidToken": ("the session token is not accepted", "correct AWS_SESSION_TOKEN"),
    "RequestTimeTooSkewed": (
        "the clocks of this machine and the store are too far apart",
        "set this machine's clock (NTP)",
    ),
    "AuthorizationHeaderMalformed": (
        "the bucket is in another region",
        "correct ATTACHMENTS_S3_REGION",
    ),
    "PermanentRedirect": ("the bucket is in another region", "correct ATTACHMENTS_S3_REGION"),
    "301": ("the bucket is in another region", "correct ATTACHMENTS_S3_REGION"),
    "NoCredentialsError": ("there are no AWS credentials", "set AWS_ACCESS_KEY_ID and so on"),
}
"""The meaning and remedy of each error code of S3 ("Error responses", Amazon S3 API)."""

UNREACHABLE = {
    "EndpointConnectionError": "the connection was refused",
    "ConnectionClosedError": "the connection was closed",
    "ConnectTimeoutError": "no answer in time",
    "ReadTimeoutError": "no answer in time",
    "SSLError": "its TLS certificate is not accepted",
}
"""The meaning of botocore's exceptions, by their names."""


async def check_store(examination: Examination) -> Verdict:
    """Request a key that does not exist. The store must answer 404."""
    bucket = examination.settings.s3_bucket
    key = f"{PREFIX}doctor/{secrets.token_hex(8)}"
    try:
        examination.storage = await examination.exits.enter_async_context(
            open_storage(examination.settings)
        )
        await examination.storage.credentials()
    except SettingsError as error:
        return failed(str(error), "correct the setting, or the AWS profile")
    except StoreRefused as error:
        return failed(
            f"{error}",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or an instance role",
        )
    except StoreUnavailable as error:
        return failed(
            f"AWS credentials cannot be read from their source ({error})",
            "check that the metadata service, container endpoint, STS or credential process works",
        )
    try:
        # Use GET first: the error code is in the body of the answer, and an answer to HEAD has no
        # body.
        try:
            async with examination.storage.read(key, end=1):
                pass
        except ObjectMissing:
            await examination.storage.head(key)
    except ObjectMissing:
        return ok(f"bucket {bucket} at {examination.store_url}")
    except StoreRefused as error:
        return _explain(str(error), bucket)
    except StoreUnavailable as error:
        return failed(
            f"the store at {examination.store_url} cannot be reached:"
            f" {UNREACHABLE.get(str(error), error)}",
            "check that ATTACHMENTS_S3_ENDPOINT_URL, ATTACHMENTS_S3_REGION and the network lead"
            " to it",
        )
    return failed(f"the store returns {key}, which was never written", "check that this is S3")


def _explain(code: str, bucket: str) -> Verdict:
    if code in ("AccessDenied", "403", "Forbidden"):
        return failed(
            f"403 for a key that is not there ({code}): missing uploads cannot be distinguished"
            " from forbidden ones",
            f"grant s3:ListBucket on arn:aws:s3:::{bucket}, and s3:GetObject, s3:PutObject and"
            f" s3:DeleteObject on arn:aws:s3:::{bucket}/{PREFIX}*",
        )
    found, mend = REFUSALS.get(
        code,
        (f"the store refuses us ({code})", "look up the code in the documentation of the store"),
    )
    return failed(f"bucket {bucket}: {found}", mend)
