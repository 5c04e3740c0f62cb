"""Find the object that a `temp_url` names, and decide if an organization may copy it.

The service never connects to the address in `temp_url`.

The forms of addresses at AWS are from the Amazon S3 User Guide, "Virtual hosting of general purpose
buckets". They are path-style `https://s3.region.amazonaws.com/bucket/key`, virtual-hosted
`https://bucket.s3.region.amazonaws.com/key`, and the older forms without a region or with
`s3-region`. FIPS, dual-stack and accelerate addresses are recognised too.
"""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from api.problems import ErrorObject, invalid
from shared.addresses import without_credentials
from shared.fences import admit
from shared.settings import Settings

_AWS_HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?"
    r"s3(?:-fips|-accelerate)?(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.(?:com(?:\.cn)?|eu)",
    re.ASCII,
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_PORTS = {"http": 80, "https": 443}


def locate(url: str, settings: Settings) -> tuple[str, str] | None:
    """Return the bucket and key that an address names at the service's own store or at AWS.

    Returns None for any other address, and for an address with a user, a fragment, a backslash or
    control characters. A query is ignored. `may_take` decides whether the key may be copied.
    """
    # Programs treat these characters differently: urlsplit drops tabs, and some clients treat a
    # backslash as a slash.
    if "\\" in url or _CONTROLS.search(url):
        return None
    parts = _split(url)
    if parts is None or "@" in parts.netloc or parts.fragment:
        return None
    try:
        path = unquote(parts.path, errors="strict")
    except UnicodeDecodeError:
        return None
    return _at_own_store(parts, path, settings) or _at_aws(parts, path)


def may_take(located: tuple[str, str], settings: Settings, *, organization_id: int) -> bool:
    """Return True if an organization may copy the object at `located`, a bucket and key.

    Only the names of bucket and key decide. So the answer does not show whether the object exists.
    """
    return admit(
        settings.fences, located, own_bucket=settings.s3_bucket, organization_id=organization_id
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """An object that a `temp_url` names and that the organization may copy.

    `url` is the address as the client wrote it. `pointer` leads to the attachment's resource object
    in the document.
    """

    url: str
    pointer: str
    bucket: str
    key: str

    def fault(self, detail: str) -> ErrorObject:
        """Return an error object about this address."""
        return _fault(self.url, self.pointer, detail)


def judge(
    settings: Settings,
    url: str,
    located: tuple[str, str] | None,
    *,
    organization_id: int,
    pointer: str = "data",
) -> tuple[Location | None, list[ErrorObject]]:
    """Return the location if `may_take` allows it, else None with an error object.

    `located` is what `locate` returned for the address. The store is not asked, so the answer does
    not show which objects exist.
    """
    if located is None or not may_take(located, settings, organization_id=organization_id):
        return None, [_fault(url, pointer, "is not an allowed location")]
    bucket, key = located
    return Location(url=url, pointer=pointer, bucket=bucket, key=key), []


def _fault(url: str, pointer: str, detail: str) -> ErrorObject:
    meta = {"value": without_credentials(url)}
    return invalid(f"{pointer}/attributes/temp_url", detail, meta)


def same_address(one: str, other: str) -> bool:
    """Return True if two texts are spellings of the same address. Queries are ignored."""
    if one == other:
        return True
    first, second = _split(one), _split(other)
    if first is None or second is None:
        return False
    return (_server(first), unquote(first.path)) == (_server(second), unquote(second.path))


def names_file(url: str, key: str) -> str | None:
    """Return the host of an address, in lower case, if the path of the address is `key`.

    Returns "" if the address is relative, and None if the path is not `key`. A query and a fragment
    are ignored.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if unquote(parts.path) != f"/{key}" or parts.scheme not in ("", *_PORTS):
        return None
    host = parts.netloc.lower()
    return host if bool(host) == bool(parts.scheme) else None


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme in _PORTS else None


def _server(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, _host(parts), parts.port or _PORTS[parts.scheme]


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").removesuffix(".")


def _at_own_store(parts: SplitResult, path: str, settings: Settings) -> tuple[str, str] | None:
    server = _server(parts)
    public = urlsplit(settings.upload_url)
    if server == _server(public):
        prefix = f"{public.path.rstrip('/')}/"
        if path.startswith(prefix):
            return settings.s3_bucket, path[len(prefix) :]
    for address in (settings.upload_url, settings.s3_endpoint_url):
        if address is not None and server == _server(urlsplit(address)):
            bucket, _, key = path.lstrip("/").partition("/")
            if _BUCKET.fullmatch(bucket):
                return bucket, key
    return None


def _at_aws(parts: SplitResult, path: str) -> tuple[str, str] | None:
    # Read only the text of the address, and do not connect to it. The service later looks for the
    # bucket at its own store.
    match = _AWS_HOST.fullmatch(_host(parts))
    if match is None or parts.port not in (None, 443, 80):
        return None
    if match["bucket"]:
        return match["bucket"], path.removeprefix("/")
    bucket, _, key = path.removeprefix("/").partition("/")
    return (bucket, key) if _BUCKET.fullmatch(bucket) else None
