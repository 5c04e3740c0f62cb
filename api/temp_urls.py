"""`temp_url`: which object of which bucket an address names. No address is ever connected to.

Amazon S3 User Guide, "Virtual hosting of general purpose buckets": path-style
`https://s3.region.amazonaws.com/bucket/key`, virtual-hosted `https://bucket.s3.region.amazonaws.com/key`,
and the older forms without a region or with `s3-region`.
"""

import re
from urllib.parse import unquote, urlsplit

from shared import keys
from shared.settings import Settings

_AWS_HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?"
    r"s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?",
    re.ASCII,
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


def locate(url: str, settings: Settings) -> tuple[str, str] | None:
    """Tell the bucket and key that an address names, or None if it is none of an allowed bucket.

    Allowed are the service's bucket and those of `ATTACHMENTS_TEMP_URL_BUCKETS`, at the service's
    own store or at AWS. A query is ignored; a user or a fragment is refused, and so is a key with
    an empty segment, `.` or `..`: SeaweedFS serves `a//b` as `a/b`, so that such a key could name
    an object which its own text does not.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.fragment:
        return None
    try:
        path = unquote(parts.path, errors="strict")
    except UnicodeDecodeError:
        return None
    if any(ord(character) < 0x20 or character == "\x7f" for character in path):
        return None
    found = _at_own_store(parts.scheme, host, port, path, settings) or _at_aws(host, port, path)
    if found is None:
        return None
    bucket, key = found
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        return None
    if bucket != settings.s3_bucket and bucket not in settings.temp_url_buckets:
        return None
    return bucket, key


def _at_own_store(
    scheme: str, host: str, port: int | None, path: str, settings: Settings
) -> tuple[str, str] | None:
    public = urlsplit(settings.upload_url)
    if (scheme, host, port) == (public.scheme, public.hostname, public.port):
        prefix = f"{public.path.rstrip('/')}/"
        if path.startswith(prefix):
            return settings.s3_bucket, path[len(prefix) :]
    for address in (settings.upload_url, settings.s3_endpoint_url):
        if address is None:
            continue
        known = urlsplit(address)
        if (scheme, host, port) == (known.scheme, known.hostname, known.port):
            bucket, _, key = path.lstrip("/").partition("/")
            if _BUCKET.fullmatch(bucket):
                return bucket, key
    return None


def _at_aws(host: str, port: int | None, path: str) -> tuple[str, str] | None:
    # Whatever store is set: the address is only read, and the bucket is looked up at that store.
    match = _AWS_HOST.fullmatch(host)
    if match is None or port not in (None, 443, 80):
        return None
    if match["bucket"]:
        return match["bucket"], path.removeprefix("/")
    bucket, _, key = path.removeprefix("/").partition("/")
    return (bucket, key) if _BUCKET.fullmatch(bucket) else None


def is_an_original(key: str) -> bool:
    """Whether a key lies where attachments keep their objects; those are never copied from."""
    return key.startswith(keys.PREFIX)
