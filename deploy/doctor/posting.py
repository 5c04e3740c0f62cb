"""Check that the store accepts an upload with a signed policy, also from a browser (CORS)."""

import io
import json
import re
from dataclasses import dataclass
from typing import Any

import aiohttp
from PIL import Image

from deploy.client.network_faults import fault_of
from deploy.doctor.clocks import read_clock
from deploy.doctor.examination import Examination, Probe, Verdict, failed, ok, warning
from shared import new_attachments, probes, writing
from shared.attachments import Attachment
from shared.database import DatabaseAway, DatabaseForbids
from shared.new_attachments import NewAttachment
from shared.signing import Credentials, post_policy
from shared.web_proxies import proxy_for

SIZE = (480, 360)
"""Width and height of the probe: larger than a thumbnail, so that a worker must make one."""

SOMEONE = "https://attachments-doctor.example"
"""The origin of the upload if the operator gave none. The domain is reserved by RFC 2606, so nobody
can own it.
"""

REFUSALS = {
    "AccessDenied": "grant s3:PutObject on arn:aws:s3:::{bucket}/attachments/*; check that"
    " ATTACHMENTS_S3_PUBLIC_URL leads to this bucket; and if the clocks differ, set them:"
    " the end of a policy is checked by the store's clock",
    "SignatureDoesNotMatch": "correct the secret key, and ATTACHMENTS_S3_REGION",
    "InvalidAccessKeyId": "correct the access key",
    "NoSuchBucket": "correct ATTACHMENTS_S3_PUBLIC_URL: it must lead to this bucket",
    "EntityTooLarge": "raise ATTACHMENTS_MAX_SIZE: even the probe, of a few kB, is larger",
    "MethodNotAllowed": "correct ATTACHMENTS_S3_PUBLIC_URL: it must end in the bucket, and lead"
    " straight to the store",
}
"""Maps error codes of S3 to remedies."""


MAY_NOT = "the user of ATTACHMENTS_DATABASE_URL lacks privileges"
GRANT = "let it own the tables, or grant it SELECT, INSERT, UPDATE and DELETE on all of them"


def draw() -> bytes:
    """Return a small PNG: the file that the doctor uploads as its probe."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize(SIZE).convert("RGB").save(file, "PNG")
    return file.getvalue()


async def check_upload(examination: Examination) -> Verdict:
    """Create an attachment, and post an image with its policy as a browser's form does.

    First checks whether the database role may write, in a transaction that is rolled back.
    """
    refused = await _find_refused_writes(examination)
    if refused is not None:
        return refused
    row = await _create(examination)
    credentials = await examination.storage.credentials()
    url = examination.settings.upload_url
    try:
        posted = await _post(examination, row, credentials)
    except (aiohttp.ClientError, OSError) as error:
        return failed(
            f"{url} cannot be posted to: {fault_of(error)}",
            "correct ATTACHMENTS_S3_PUBLIC_URL, to which clients upload",
        )
    if not 200 <= posted.status < 300:
        code = re.search(r"<Code>(\w+)</Code>", posted.text)
        name = code[1] if code else ""
        mend = REFUSALS.get(name, "check that ATTACHMENTS_S3_PUBLIC_URL leads to the bucket")
        return failed(
            f"{url} refuses an upload under our policy: {posted.status} {name}".rstrip(),
            mend.format(bucket=examination.settings.s3_bucket),
        )
    posted_at = await examination.database.run(read_clock)
    examination.probe = Probe(row=row, posted_at=posted_at, allowed_origin=posted.allowed_origin)
    if posted.status != 201:
        return warning(
            f"{url} answers {posted.status}, where the policy asks for 201",
            "check that ATTACHMENTS_S3_PUBLIC_URL leads straight to the store",
        )
    return ok(f"{url} takes an upload under our policy")


async def _find_refused_writes(examination: Examination) -> Verdict | None:
    missing = await examination.database.run(writing.find_missing_privileges)
    if missing:
        return failed(f"{MAY_NOT}: {', '.join(missing)}", GRANT)
    try:
        await examination.database.run(writing.try_write)
    except DatabaseForbids:
        return failed(MAY_NOT, GRANT)
    except DatabaseAway as error:
        refusal = error.refusal
        return failed(
            f"the database cannot be written to: {refusal.cause if refusal else error}",
            refusal.mend if refusal else "read its own log",
        )
    return None


async def _create(examination: Examination) -> Attachment:
    settings = examination.settings
    [row] = await examination.database.run(
        new_attachments.create,
        [NewAttachment(name=probes.NAME)],
        organization_id=probes.ORGANIZATION,
        creator_id=None,
        bucket=settings.s3_bucket,
        policy_ttl_s=settings.policy_ttl,
        # If the event is lost, the sweep finds the upload after this time. The time is at most half
        # of `wait_s`, so that enough is left for the later checks.
        first_check_s=min(settings.pending_check, examination.wait_s / 2),
    )
    examination.created = row
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posted:
    """The store's answer to a posted form."""

    status: int
    text: str
    allowed_origin: str | None


async def _post(examination: Examination, row: Attachment, credentials: Credentials) -> _Posted:
    """Post the probe to the store. Raises aiohttp.ClientError and OSError."""
    settings = examination.settings
    policy = post_policy(
        bucket=row.bucket,
        key=row.key,
        region=settings.store.region,
        credentials=credentials,
        now=row.created_at,
        lifetime_s=settings.policy_ttl,
        max_bytes=settings.max_size,
        content_type=None,
    )
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in policy.items():
        form.add_field(name, value)
    form.add_field("file", examination.content, filename=probes.NAME, content_type="image/png")
    url = settings.upload_url
    headers = {"Origin": examination.origin or SOMEONE}
    async with examination.http.post(
        url, data=form, headers=headers, allow_redirects=False, proxy=proxy_for(url)
    ) as answer:
        return _Posted(
            status=answer.status,
            text=await answer.text(errors="replace"),
            allowed_origin=answer.headers.get("Access-Control-Allow-Origin"),
        )


def cors_rules(origin: str) -> dict[str, Any]:
    """Return the bucket's CORS configuration, in S3's form, that lets pages of an origin upload."""
    rule = {
        "AllowedOrigins": [origin],
        "AllowedMethods": ["POST"],
        "AllowedHeaders": ["*"],
        "MaxAgeSeconds": 3600,
    }
    return {"CORSRules": [rule]}


async def check_cors(examination: Examination) -> Verdict:
    """Check that browsers can upload: the store accepts the preflight and sends CORS headers."""
    origin = examination.origin or SOMEONE
    faults = []
    if not await _admits_preflight(examination, origin):
        faults.append("the preflight of a POST is refused")
    if examination.probe.allowed_origin not in ("*", origin):
        faults.append("the answer to an upload may not be read")
    if not faults:
        return ok(_what_pages_may(examination))
    rules = json.dumps(cors_rules(examination.origin or "https://your.site"))
    mend = (
        f"if browsers upload, put this CORS rule on the bucket"
        f" (aws s3api put-bucket-cors --cors-configuration): {rules}"
    )
    found = " and ".join(faults)
    if examination.origin is None:
        return warning(
            f"for pages of an unknown origin {found}",
            f"name yours with --origin https://…, so that it is checked; {mend}",
        )
    return failed(f"for pages of {origin} {found}", mend)


def _what_pages_may(examination: Examination) -> str:
    named = examination.origin
    if named is None:
        return "pages of any origin may upload"
    if examination.settings.origins.allow(named):
        return f"pages of {named} may upload, and see what comes of it"
    # This is no fault: the page may call its own backend, which then calls the API.
    return f"pages of {named} may upload; ATTACHMENTS_CORS_ORIGINS does not let them call the API"


async def _admits_preflight(examination: Examination, origin: str) -> bool:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    url = examination.settings.upload_url
    try:
        async with examination.http.options(
            url, headers=headers, allow_redirects=False, proxy=proxy_for(url)
        ) as answer:
            methods = answer.headers.get("Access-Control-Allow-Methods", "")
            return (
                200 <= answer.status < 300
                and answer.headers.get("Access-Control-Allow-Origin") in ("*", origin)
                and bool({"POST", "*"} & {word.strip().upper() for word in methods.split(",")})
            )
    except (aiohttp.ClientError, OSError):
        return False
