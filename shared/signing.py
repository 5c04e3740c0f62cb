"""Sign POST policies and GET links for clients of the store, by AWS Signature Version 4.

No request is sent. aiobotocore's `generate_presigned_post` is not used: it uses SigV2 for some
endpoints, turns `${filename}` at the end of a key into a prefix rule, and has its own order of
fields, but contract.md specifies every byte.
Source: Amazon S3 API Reference, "Authenticating requests (AWS Signature Version 4)".
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, urlsplit

import orjson

from shared.macs import Mac

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """AWS credentials at one moment.

    Only temporary credentials have a `token`, and expire at `ends_at`. After that time AWS refuses
    every signature made with them, even if the signature itself expires later.
    """

    access_key: str
    secret_key: str
    token: str | None = None
    ends_at: datetime | None = None


def policy_end(*, credentials: Credentials, now: datetime, lifetime_s: int) -> datetime:
    """Return the time, in whole seconds, at which a policy signed at `now` ends.

    A policy never ends later than its credentials.
    """
    end = now.astimezone(UTC) + timedelta(seconds=lifetime_s)
    if credentials.ends_at is not None:
        end = min(end, credentials.ends_at.astimezone(UTC))
    return end.replace(microsecond=0)


def link_lifetime(*, credentials: Credentials, now: datetime, lifetime_s: int) -> int:
    """Return the seconds for which a link signed at `now` is valid, limited by the credentials."""
    if credentials.ends_at is None:
        return lifetime_s
    return min(lifetime_s, int((credentials.ends_at - now).total_seconds()))


@lru_cache(maxsize=16)
def _signed_host(scheme: str, netloc: str) -> str:
    """Return the host as clients send it in Host: in lower case, without the scheme's usual port.

    RFC 9110, section 4.2.3. botocore signs the same text (`botocore.auth._host_from_url`).
    """
    parts = urlsplit(f"{scheme}://{netloc}")
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(scheme)
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


@lru_cache(maxsize=64)
def _iso_of(seconds: int) -> str:
    # Cached, because all policies that are signed in the same second have the same two times. One
    # call of `isoformat` takes as long as the rest of a policy's text; strftime takes ten times as
    # long.
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}Z"


def _iso(moment: datetime) -> str:
    return _iso_of(int(moment.timestamp()))


def _stamp(now: datetime) -> str:
    return _iso(now).replace("-", "").replace(":", "")


@lru_cache(maxsize=16)
def _signer(secret_key: str, date: str, region: str) -> Mac:
    # The signing key is the same for a whole day, so it is computed once a day.
    key = _hmac(b"AWS4" + secret_key.encode(), date)
    key = _hmac(_hmac(_hmac(key, region), "s3"), "aws4_request")
    return Mac(key)


def _sign(text: str, secret_key: str, date: str, region: str) -> str:
    return _signer(secret_key, date, region).digest(text.encode()).hex()


def post_policy(
    *,
    bucket: str,
    key: str,
    region: str,
    credentials: Credentials,
    now: datetime,
    lifetime_s: int,
    max_bytes: int,
    content_type: str | None,
    cache_control: str | None = None,
) -> dict[str, str]:
    """Sign a POST policy for one key. Return its form fields in the order of contract.md.

    `now` must have a time zone. A client must post every field unchanged, and the file as the last
    field. `policy_end` returns when the policy ends.
    """
    stamp = _stamp(now)
    date = stamp[:8]
    fields = {"key": key, "success_action_status": "201"}
    signed = {
        "x-amz-credential": f"{credentials.access_key}/{date}/{region}/s3/aws4_request",
        "x-amz-algorithm": ALGORITHM,
        "x-amz-date": stamp,
    }
    if credentials.token is not None:
        signed["x-amz-security-token"] = credentials.token
    conditions: list[object] = [
        {"bucket": bucket},
        {"key": key},
        {"success_action_status": "201"},
        ["content-length-range", 0, max_bytes],
        *({name: value} for name, value in signed.items()),
    ]
    if content_type is not None:
        fields["Content-Type"] = content_type
        conditions.append({"Content-Type": content_type})
    if cache_control is not None:
        fields["Cache-Control"] = cache_control
        conditions.append({"Cache-Control": cache_control})
    expiration = policy_end(credentials=credentials, now=now, lifetime_s=lifetime_s)
    document = {"expiration": _iso(expiration), "conditions": conditions}
    policy = base64.b64encode(orjson.dumps(document)).decode()
    return {
        **fields,
        "policy": policy,
        **signed,
        "x-amz-signature": sign_policy(policy, credentials.secret_key, date, region),
    }


def sign_policy(policy: str, secret_key: str, date: str, region: str) -> str:
    """Sign a policy in Base64. `date` is the `YYYYMMDD` of its credential."""
    return _sign(policy, secret_key, date, region)


def presigned_get(
    *,
    object_url: str,
    region: str,
    credentials: Credentials,
    now: datetime,
    lifetime_s: int,
    parameters: dict[str, str],
    method: str = "GET",
) -> str:
    """Sign a GET of `object_url` for `lifetime_s` seconds. Return the signed address.

    The path of `object_url` must not be percent-encoded yet. `method` is GET or HEAD; a signature
    for one is not valid for the other. The signature expires with the credentials at the latest.
    `parameters` may be `versionId`, and overrides of S3 such as `response-content-type`. `now` must
    have a time zone.
    """
    stamp = _stamp(now)
    date = stamp[:8]
    scope = f"{date}/{region}/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(
            link_lifetime(credentials=credentials, now=now, lifetime_s=lifetime_s)
        ),
        "X-Amz-SignedHeaders": "host",
        **parameters,
    }
    if credentials.token is not None:
        query["X-Amz-Security-Token"] = credentials.token
    parts = urlsplit(object_url)
    path = quote(parts.path, safe="/-_.~")
    encoded = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(query.items())
    )
    host = _signed_host(parts.scheme, parts.netloc)
    request = f"{method}\n{path}\n{encoded}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    signature = _sign(text, credentials.secret_key, date, region)
    return f"{parts.scheme}://{parts.netloc}{path}?{encoded}&X-Amz-Signature={signature}"
