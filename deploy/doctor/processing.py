"""Check that an upload's event arrives, that its thumbnail is made, and that its links work."""

import asyncio
import io
from datetime import UTC, datetime

import aiohttp
from PIL import Image, UnidentifiedImageError
from yarl import URL

from deploy.client.network_faults import fault_of
from deploy.doctor.api import find_intake_fault
from deploy.doctor.examination import Examination, Verdict, failed, ok, skipped, warning
from shared import attachments, probes
from shared.attachments import Attachment
from shared.errors import ObjectMissing, StoreError
from shared.links import Links
from shared.probes import Arrival
from shared.reasons import sentence
from shared.states import SETTLED
from shared.web_proxies import proxy_for

POLL_EVERY_S = 0.2
LINGER_S = 1.0
"""Time, in seconds, to wait after the event has arrived, because the store may send it again."""

MAX_BYTES = 1024 * 1024
REDIRECTS = 10  # the default of aiohttp


async def check_event(examination: Examination) -> Verdict:
    """Wait for the store's event about the upload. Report how and when it arrived."""
    arrivals = await _wait_for_arrivals(examination)
    if not arrivals:
        return failed(*await _explain_silence(examination))
    first = arrivals[0]
    seconds = max(0.0, (first.arrived_at - examination.probe.posted_at).total_seconds())
    ways = " and ".join(dict.fromkeys(f"{each.source} as {each.dialect}" for each in arrivals))
    found = f"by {ways}, {seconds:.1f} s after the upload"
    if len(arrivals) == 1:
        return ok(f"{found}, once", seconds=seconds)
    return warning(
        f"{found}, {len(arrivals)} times",
        "does no harm, because an event has one effect; but check whether two rules of the bucket"
        " send the same events, or the API answers so late that the store sends them again",
        seconds=seconds,
    )


async def _wait_for_arrivals(examination: Examination) -> list[Arrival]:
    loop = asyncio.get_running_loop()
    probe_id, deadline = examination.probe.row.id, loop.time() + examination.wait_s
    while True:
        arrivals = await examination.database.run(probes.find_arrivals, probe_id)
        if arrivals:
            await asyncio.sleep(LINGER_S)
            return await examination.database.run(probes.find_arrivals, probe_id)
        if loop.time() > deadline:
            return []
        await asyncio.sleep(POLL_EVERY_S)


async def _explain_silence(examination: Examination) -> tuple[str, str]:
    row = await _read(examination)
    found = f"no event came within {examination.wait_s:.0f} s"
    if row.uploaded_at is not None:
        found += "; the sweep found the upload, but later than an event would have"
    mends = []
    if examination.settings.sqs_queue_url is not None:
        mends.append(
            "check that `attachments consume` runs, and that the queue of ATTACHMENTS_SQS_QUEUE_URL"
            " gets the object-created events of the bucket: its access policy must let S3, SNS or"
            " EventBridge send"
        )
    if examination.settings.events_tokens or not mends:
        fault = await find_intake_fault(examination)
        mends.append(
            f"{fault or 'the API accepts events; if it uses this database, check the store'}:"
            " the store, directly or through SNS or EventBridge, is to post the object-created"
            f" events of the bucket to {examination.api_url}/events/s3, with a token of"
            " ATTACHMENTS_EVENTS_TOKENS as Bearer or at the end of the path"
        )
    return found, "; or ".join(mends)


async def _read(examination: Examination) -> Attachment:
    row = await examination.database.run(attachments.find_any, examination.probe.row.id)
    # only another doctor could have removed this row, and only after an hour
    assert row is not None
    return row


async def check_thumbnail(examination: Examination) -> Verdict:
    """Wait until a worker has processed the upload, and check the thumbnail in the store."""
    row = await _wait_until_done(examination)
    if row.state in ("rejected", "failed") or (row.state == "ready" and row.reason is not None):
        return failed(
            f"the probe is {row.state}: {sentence(row.reason or 'without a reason')}",
            "read the worker's log about this attachment: it has the cause",
        )
    if row.state != "ready":
        return failed(_explain_state(examination, row), _mend_of(examination, row))
    assert row.processed_at is not None
    seconds = max(0.0, (row.processed_at - examination.probe.posted_at).total_seconds())
    if not row.resized or row.thumbnail_key is None:
        return failed(
            "the probe is ready, but without a thumbnail",
            "check that all workers have the same version",
        )
    try:
        async with examination.storage.read(row.thumbnail_key, end=MAX_BYTES) as (_, chunks):
            content = b"".join([chunk async for chunk in chunks])
        width, height = _measure(content)
    except ObjectMissing:
        return failed(
            "the row promises a thumbnail that is not in the store",
            "check that workers use the same bucket, and that nothing else deletes in it",
        )
    except StoreError as error:
        return failed(f"the thumbnail cannot be read ({error})", "grant s3:GetObject")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return failed(
            "the thumbnail is not an image", "check that nothing else writes to the bucket"
        )
    return ok(f"{width}×{height}, {seconds:.1f} s after the upload", seconds=seconds)


async def _wait_until_done(examination: Examination) -> Attachment:
    """Wait until the row is settled, at most `wait_s` seconds; return the row.

    Do not wait if neither an event nor the sweep has reported the upload, because `check_event` has
    waited for that already.
    """
    loop = asyncio.get_running_loop()
    begin = loop.time()
    row = await _read(examination)
    while row.state not in SETTLED and loop.time() < begin + examination.wait_s:
        if row.uploaded_at is None and not examination.works("event"):
            break
        await asyncio.sleep(POLL_EVERY_S)
        row = await _read(examination)
    return row


def _explain_state(examination: Examination, row: Attachment) -> str:
    if row.uploaded_at is None:
        return "the service has not noticed the upload: no event, and no sweep of a worker"
    if row.attempt == 0:
        return f"no worker took the upload within {examination.wait_s:.0f} s"
    return f"still {row.state}, at attempt {row.attempt}, after {examination.wait_s:.0f} s"


def _mend_of(examination: Examination, row: Attachment) -> str:
    if row.attempt:
        return "read the worker's log about this attachment: it has the cause"
    if not examination.works("broker"):
        return "repair the broker; until then only the sweep finds uploads, so use a longer --wait"
    if examination.works("worker"):
        return "check that workers use the same database and bucket as here, and are not overloaded"
    return "start `attachments worker`, with the same settings as here"


def _measure(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return image.size


async def check_links(examination: Examination) -> Verdict:
    """Check that `url` and `thumb`, as the API shows them, lead to the files in the store."""
    row = await _read(examination)
    if row.uploaded_at is None:
        return skipped("the service has not noticed the upload")
    if examination.settings.clamd is not None and row.state != "ready":
        return skipped(
            f"the probe is {row.state}; with a scanner, only what is ready can be opened"
        )
    links, now = Links(examination.settings), datetime.now(UTC)
    wanted = {"url": row.key}
    if row.resized and row.thumbnail_key is not None:
        wanted["thumb"] = row.thumbnail_key
    for name, key in wanted.items():
        base = f"{links.base(examination.api_url)}/{key}"
        address = links.url(key, row.uploaded_at, now, examination.api_url)
        try:
            status, host, content = await _open(examination, address)
        except (aiohttp.ClientError, OSError) as error:
            return failed(
                f"{name}: {base} does not open: {fault_of(error)}", _mend_link(examination)
            )
        if status != 200:
            return failed(f"{name}: {base} answers {status} from {host}", _mend_link(examination))
        if (content != examination.content) if name == "url" else not _is_image(content):
            return failed(
                f"{name}: {base} opens, but its content differs from the stored one",
                "check whether a cache answers",
            )
    return ok(f"{' and '.join(wanted)} open at {links.base(examination.api_url)}")


async def _open(examination: Examination, address: str) -> tuple[int, str | None, bytes]:
    """Request an address of the API, and follow its redirects.

    If a proxy is set, it is used for the redirects, but not for the API.

    Returns the status, the host and the body of the last answer.
    """
    proxy = None
    for _ in range(REDIRECTS):
        async with examination.http.get(
            URL(address, encoded=True), allow_redirects=False, proxy=proxy
        ) as answer:
            if answer.status not in (301, 302, 303, 307, 308):
                content = await answer.content.read(MAX_BYTES)
                while chunk := await answer.content.read(MAX_BYTES):
                    content += chunk
                return answer.status, answer.url.host, content
            location = URL(answer.headers.get("Location", ""), encoded=True)
            address = str(answer.url.join(location))
            proxy = proxy_for(address)
    return answer.status, answer.url.host, b""


def _is_image(content: bytes) -> bool:
    try:
        return bool(_measure(content))
    except (OSError, ValueError, SyntaxError):
        return False


def _mend_link(examination: Examination) -> str:
    if examination.settings.files_public:
        return "check that ATTACHMENTS_FILES_URL leads to the bucket, and may be read by everyone"
    return (
        "check that the API has the same ATTACHMENTS_FILES_SECRET and database as here, that"
        " ATTACHMENTS_FILES_URL or ATTACHMENTS_API_URL leads to it, and that"
        " ATTACHMENTS_S3_PUBLIC_URL, to which it sends on, serves GET as well"
    )
