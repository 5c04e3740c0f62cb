"""Where a signed address redirects to: for how long, under which headers, in how many bytes."""

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

FILE_CACHE = "private, max-age=86400"

MAX_LOCATION = 3500
"""Bytes of a Location. The whole head of an answer then fits in 4 kB, nginx's buffer for it
(proxy_buffer_size, one page of memory); the other fields have some 350 bytes."""

_MEDIA = ("audio/", "video/")
_PLAYED = frozenset({"application/ogg", "application/mp4", "application/vnd.rn-realmedia"})
MAX_EXTENSION = 20
"""Characters after the last dot of a name that are kept when it is cut, as in keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A signed address at the store, and for how many seconds the redirect to it may be kept."""

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
    """Sign the store's address of a row's original or thumbnail. May be repeated.

    The time is divided into slots as long as the target must open at least. Within a slot the
    address is the same, so that a browser finds the file in its cache; it opens until the next
    slot has ended, or the credentials have. The redirect may be kept until its slot ends, but
    neither beyond the link, which ends at the Unix time `link_ends`, nor where the credentials
    end sooner than a target must open.
    """
    slot_s = ttl_s(settings, row, key)
    begins = int(now.timestamp()) // slot_s * slot_s
    ends = [begins + slot_s]
    if link_ends is not None:
        ends.append(link_ends - 1)
    if credentials.ends_at is not None:
        ends.append(int(credentials.ends_at.timestamp()) - slot_s)

    def signed(overrides: dict[str, str]) -> str:
        return presigned_get(
            object_url=object_url(settings, key),
            region=settings.store.region,
            credentials=credentials,
            now=datetime.fromtimestamp(begins, UTC),
            lifetime_s=2 * slot_s,
            response_headers=overrides,
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
    """Sign with a shorter name, or with none: browsers then take the one in the key."""
    location = signed(original_overrides(row, room=max(0, _cost(row.name) - excess)))
    if len(location) <= MAX_LOCATION:
        return location
    overrides = original_overrides(row, room=0)
    kind = overrides["response-content-disposition"].partition(";")[0]
    return signed({**overrides, "response-content-disposition": kind})


def ttl_s(settings: Settings, row: Attachment, key: str) -> int:
    """Tell for how many seconds a target opens at least: longer for what is played."""
    if key == row.key and row.content_type is not None and is_played(row.content_type):
        return settings.redirect_ttl_media
    return settings.redirect_ttl


def is_played(content_type: str) -> bool:
    """Whether a file of this type is sound or film, which players read part by part."""
    essence = content_types.essence(content_type)
    return essence.startswith(_MEDIA) or essence in _PLAYED


def original_overrides(row: Attachment, *, room: int | None = None) -> dict[str, str]:
    """Give S3's response overrides for an original; `room` is as in `disposition`.

    What has not been measured, or failed to be, is nothing but bytes to download; so is an image
    that carries more than itself.
    """
    measured = row.state in MEASURED and row.content_type is not None
    content_type = row.content_type if measured and row.content_type else "application/octet-stream"
    safe = row.state == "ready" and not row.carries_more
    inline = safe and content_types.essence(content_type) in content_types.INLINE
    kind: Literal["inline", "attachment"] = "inline" if inline else "attachment"
    return {
        "response-cache-control": FILE_CACHE,
        "response-content-disposition": disposition(kind, row.name, room=room),
        "response-content-type": content_type,
    }


def disposition(
    kind: Literal["inline", "attachment"], name: str, *, room: int | None = None
) -> str:
    """Write Content-Disposition by RFC 6266: an ASCII name, and the real one by RFC 8187.

    With `room` the real name is cut so that it takes up to so many characters of a query; its
    extension stays. Where not even that has room, the ASCII name stands alone.
    """
    fallback = keys.safe_file_name(name)
    value = f'{kind}; filename="{fallback}"'
    if room is not None:
        name = _cut(name, room)
    if name and fallback != name:
        value += f"; filename*=UTF-8''{quote(name, safe='')}"
    return value


def _cost(text: str) -> int:
    """Count the characters that a part of a name takes in a query, where it is quoted twice."""
    return len(quote(quote(text, safe=""), safe=""))


def _cut(name: str, room: int) -> str:
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > MAX_EXTENSION:
        stem, dot, extension = name, "", ""
        if _cost(name) > room:
            extension = "_"  # or what is left of the long one may be another one
    left = room - _cost(dot + extension)
    kept = 0
    for letter in stem:
        left -= _cost(letter)
        if left < 0:
            break
        kept += 1
    stem = stem[:kept].rstrip("\u200d ")  # a joiner without what it joined, and spaces
    return f"{stem}{dot}{extension}" if stem else ""
