"""Presign the address at the store to which a request for a file is redirected."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

from shared import content_types, keys
from shared.attachments import Attachment
from shared.settings import Settings
from shared.signing import Credentials, presigned_get
from shared.states import MEASURED
from shared.storage import object_url

Disposition = Literal["inline", "attachment"]

FILE_CACHE = "private, max-age=86400"

MAX_LOCATION = 3500
"""Maximum length of the header Location, in bytes. The other header fields have about 350 bytes, so
the whole head fits into nginx's buffer of 4 kB (proxy_buffer_size, one page of memory)."""

_MEDIA = ("audio/", "video/")
_PLAYED = frozenset({"application/ogg", "application/mp4", "application/vnd.rn-realmedia"})
MAX_EXTENSION = 20
"""Maximum length, in characters, of an extension that is kept when a name is shortened. The
extension in a key has the same maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A presigned address at the store, and the seconds for which its redirect may be cached."""

    location: str
    cache_s: int


def target(
    settings: Settings,
    row: Attachment,
    key: str,
    *,
    method: str,
    credentials: Credentials,
    now: datetime,
    link_ends: int | None,
) -> Target:
    """Presign the store's address of a row's original or thumbnail. May be repeated.

    The time is divided into periods of `ttl_s` seconds. Within a period the address is the same, so
    that a browser finds the file in its cache. The address is valid to the end of the next period,
    or until the credentials expire.

    The redirect may be cached until the earliest of three times: the end of the period, the end of
    the link (Unix time `link_ends`), and `ttl_s` seconds before the credentials expire.

    If uploads are scanned and the bucket has versions, the address names the scanned version.
    """
    period_s = ttl_s(settings, row, key)
    begins = int(now.timestamp()) // period_s * period_s
    ends = [begins + period_s]
    if link_ends is not None:
        ends.append(link_ends - 1)
    if credentials.ends_at is not None:
        ends.append(int(credentials.ends_at.timestamp()) - period_s)

    version = {}
    if settings.clamd is not None and key == row.key and row.version_id is not None:
        version = {"versionId": row.version_id}

    def signed(overrides: dict[str, str]) -> str:
        return presigned_get(
            object_url=object_url(settings, key),
            region=settings.store.region,
            credentials=credentials,
            now=datetime.fromtimestamp(begins, UTC),
            lifetime_s=2 * period_s,
            parameters={**version, **overrides},
            method="HEAD" if method == "HEAD" else "GET",
        )

    if key != row.key:
        location = signed({"response-cache-control": FILE_CACHE})
    else:
        location = signed(original_overrides(row))
        if len(location) > MAX_LOCATION:
            location = _shortened(row, signed, len(location) - MAX_LOCATION)
    return Target(location=location, cache_s=max(0, int(min(ends) - now.timestamp())))


def _shortened(row: Attachment, signed: Callable[[dict[str, str]], str], excess: int) -> str:
    """Presign with a shorter name or, if the address is still too long, without a name.

    Without a name, browsers use the name in the key.
    """
    location = signed(original_overrides(row, room=max(0, _cost(row.name) - excess)))
    if len(location) <= MAX_LOCATION:
        return location
    overrides = original_overrides(row, room=0)
    kind = overrides["response-content-disposition"].partition(";")[0]
    return signed({**overrides, "response-content-disposition": kind})


def ttl_s(settings: Settings, row: Attachment, key: str) -> int:
    """Return the minimum time, in seconds, for which a target is valid.

    This time is longer for audio and video.
    """
    if key == row.key and row.content_type is not None and is_played(row.content_type):
        return settings.redirect_ttl_media
    return settings.redirect_ttl


def is_played(content_type: str) -> bool:
    """Return True if files of this type are audio or video, which players read piece by piece."""
    essence = content_types.essence(content_type)
    return essence.startswith(_MEDIA) or essence in _PLAYED


def original_overrides(row: Attachment, *, room: int | None = None) -> dict[str, str]:
    """Return S3's response overrides for an original. `room` is explained at `disposition`.

    An original that is not measured gets the type application/octet-stream. A `ready` raster image
    or PDF is shown in the browser (`inline`), unless it contains other data. Everything else is a
    download.
    """
    measured = row.state in MEASURED and row.content_type is not None
    content_type = row.content_type if measured and row.content_type else "application/octet-stream"
    safe = row.state == "ready" and not row.carries_more
    inline = safe and content_types.essence(content_type) in content_types.INLINE
    kind: Disposition = "inline" if inline else "attachment"
    return {
        "response-cache-control": FILE_CACHE,
        "response-content-disposition": disposition(kind, row.name, room=room),
        "response-content-type": content_type,
    }


def disposition(kind: Disposition, name: str, *, room: int | None = None) -> str:
    """Return a Content-Disposition (RFC 6266): an ASCII name, and the real name by RFC 8187.

    With `room`, the real name is shortened to take at most `room` characters in a query. Its
    extension is kept. If even the extension is too long, only the ASCII name is given.
    """
    fallback = keys.safe_file_name(name)
    value = f'{kind}; filename="{fallback}"'
    if room is not None:
        name = _cut(name, room)
    if name and fallback != name:
        value += f"; filename*=UTF-8''{quote(name, safe='')}"
    return value


def _cost(text: str) -> int:
    """Return how many characters a text takes in a query, percent-encoded twice."""
    return len(quote(quote(text, safe=""), safe=""))


def _cut(name: str, room: int) -> str:
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > MAX_EXTENSION:
        stem, dot, extension = name, "", ""
        if _cost(name) > room:
            extension = "_"  # otherwise the cut name could end with the extension of another type
    left = room - _cost(dot + extension)
    kept = 0
    for letter in stem:
        left -= _cost(letter)
        if left < 0:
            break
        kept += 1
    # Remove spaces at the end, and a joiner (U+200D) that no longer joins two letters.
    stem = stem[:kept].rstrip("\u200d ")
    return f"{stem}{dot}{extension}" if stem else ""
