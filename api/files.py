"""Originals and thumbnails: signed addresses that redirect to the store."""

from aiohttp import web

from api.file_links import find_reader, is_signed, read_query
from api.parts import PARTS, Parts, now
from api.problems import not_found
from api.targets import target
from shared import attachments, keys
from shared.attachments import Attachment
from shared.errors import ObjectMissing, StoreUnavailable
from shared.older_objects import note_older
from shared.settings import Settings
from shared.shares import share_of, split_pool
from shared.states import MEASURED
from shared.store_limits import NO_ANSWER, store_limit
from shared.styles import shown_thumbnails
from shared.turns import Turns

FILES = "files"
"""The key of the share of the database pool that all requests for files use together. Other
requests use their organization's share, but here the organization is known only after the row is
read."""

WAITING = 200
"""Maximum number of requests that wait for the files of one attachment. More are answered with
429."""

ASK_WITHIN_S = 5.0
"""Time, in seconds, in which the store must return the age of an object that no worker has examined
yet."""


def open_links(settings: Settings) -> Turns:
    """Return the `Turns` object that limits how many requests for files read their rows at once.

    Each connection of the share FILES serves one request at a time. Requests for the same
    attachment wait for each other, so many requests for one link do not delay other links.
    """
    return Turns(share_of(split_pool(settings.database_pool)[0]), each=1, waiting=WAITING)


async def redirect(request: web.Request) -> web.StreamResponse:
    """Answer GET and HEAD /attachments/files/{partition}/{style}/{file}: 302 to the store, or 404.

    The address must have a signature, or an API token of the file's organization. The redirect sets
    the headers of the store's answer: the measured type, the real file name, and `inline` only for
    images and PDFs that were measured, else `attachment` (RFC 6266).
    """
    parts = request.app[PARTS]
    key = keys.PREFIX + request.match_info["tail"]
    named = keys.parse_key(key)
    query = read_query(request.rel_url.raw_query_string)
    if named is None or parts.settings.files_public:
        raise not_found()
    reader, ends = None, query.ends
    if not is_signed(parts, key, query):
        reader, ends = await find_reader(request, parts, query), ""
        if reader is None:
            raise not_found()
    async with parts.links.turn(named[0]):
        row = await parts.clients.of(FILES).run(attachments.find_any, named[0])
    if row is not None and reader is not None and row.organization_id != reader.organization_id:
        raise not_found()
    if row is None or row.deleted_at is not None or is_blocked(row, parts.settings):
        raise not_found()
    if parts.settings.clamd is not None and row.state != "ready":
        raise not_found()  # the file was not scanned yet, or the scan rejected it
    # The settings may name a new bucket. An object with this key in the new bucket belongs to
    # another row.
    if row.bucket != parts.settings.s3_bucket:
        raise not_found()
    if named[1] != keys.ORIGINAL:
        if key not in {each.key for each in shown_thumbnails(row).values()}:
            raise not_found()
    else:
        if row.uploaded_at is None or key != row.key:
            raise not_found()
        await _check_object(parts, row)
    parts.bucket.require_ours()
    to = target(
        parts.settings,
        row,
        key,
        method=request.method,
        credentials=await parts.storage.credentials(),
        now=now(),
        link_ends=int(ends) if ends else None,
    )
    return web.Response(
        status=302,
        headers={
            "Location": to.location,
            "Cache-Control": f"private, max-age={to.cache_s}",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        },
    )


async def _check_object(parts: Parts, row: Attachment) -> None:
    """Raise Problem 404 if the object is older than its row, or was not scanned.

    An older object belongs to an earlier row with the same id. That row was lost, for example by a
    restore of the database. If the present row is `ready` or `rejected`, a worker has already
    compared the ages. In other states, no worker has done so, and this function asks the store.

    The store must also be asked about an object that was scanned but has no version: a redirect
    cannot name the scanned version, and the object may have been replaced since.

    Raises StoreUnavailable if the store does not answer in time, and BucketForeign if the bucket
    belongs to another deployment.
    """
    scanned = row.scan_verdict is not None and parts.settings.clamd is not None
    if row.state in MEASURED and not (scanned and row.version_id is None):
        return
    try:
        async with store_limit(ASK_WITHIN_S), parts.lookups.turn(row.organization_id):
            await parts.bucket.require_known_ours()
            found = await parts.storage.head(row.key)
    except ObjectMissing:
        raise not_found() from None
    except TimeoutError:
        raise StoreUnavailable(NO_ANSWER) from None
    if parts.bucket.is_anothers(found, row):
        note_older(row, found, seen_by="api")
        raise not_found()
    if scanned and found.etag != row.etag:
        raise not_found()


def is_blocked(row: Attachment, settings: Settings) -> bool:
    """Return True if an attachment's files may not be served, because its type or name is reserved.

    While the object is processed again, the row keeps the measured type, so the file stays blocked.
    An attachment that was `ready` before its extension became reserved is still served.
    """
    reserved = settings.reserved_files
    if row.content_type is not None and reserved.has_type(row.content_type):
        return True
    if row.state == "ready":
        return False
    return row.reason == "reserved_type" or reserved.has_name(row.name)
