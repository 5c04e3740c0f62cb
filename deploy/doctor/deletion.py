"""Check that objects can be removed and, if the bucket keeps versions, all their versions too."""

import secrets

from deploy.doctor.examination import Examination, Verdict, failed, ok, warning
from shared.erasure import Eraser, Listing
from shared.errors import StoreRefused, StoreUnavailable
from shared.keys import PREFIX

TWICE = (b"a first version", b"a second version")
PROBE_AGE_S = 3600.0
"""The eraser keeps objects that are older than their row. The object of this check has no row, so
the eraser gets this number as the row's age, in seconds. The object is younger, so it is removed.
"""


async def check_deletion(examination: Examination) -> Verdict:
    """Store a small object twice and erase it; fail if a version of it remains.

    If the bucket keeps versions and the user may not remove them, a few bytes remain in the bucket.
    """
    storage, bucket = examination.storage, examination.settings.s3_bucket
    eraser, key = Eraser(storage), f"{PREFIX}doctor/{secrets.token_hex(8)}"
    listing = Listing(prefix=key, keys={key}, current=(key,))
    versioned = None
    try:
        versioned = await eraser.keeps_versions()
        if versioned:
            # Check the right to list versions before an object is stored. Without this right, the
            # object could not be removed again.
            await storage.versions(key, limit=1)
        for body in TWICE:
            await storage.write(key, body, content_type="text/plain")
        await eraser.erase([listing], row_age_s=lambda: PROBE_AGE_S)
        asked, versioned = versioned, await eraser.keeps_versions()
        listed = await storage.versions(key, limit=len(TWICE) + 1) if versioned else []
        left = [version for version in listed if not version.is_marker]
    except StoreRefused as error:
        return _refused(bucket, str(error), versioned=await eraser.keeps_versions())
    except StoreUnavailable as error:
        return failed(
            f"the store at {examination.store_url} did not answer ({error})", "run the doctor again"
        )
    if left:
        return failed(
            f"bucket {bucket} keeps versions, and the store left {len(left)} of an object that was"
            " removed",
            "check whether Object Lock or MFA delete is on: they keep deleted attachments",
        )
    if asked is None:
        return warning(
            f"the store does not allow to read whether bucket {bucket} keeps versions",
            f"grant s3:GetBucketVersioning on arn:aws:s3:::{bucket}",
        )
    if versioned:
        return ok(f"bucket {bucket} keeps versions, and all of them can be removed")
    return ok(f"bucket {bucket} keeps no versions, and objects can be removed")


def _refused(bucket: str, error: str, *, versioned: bool | None) -> Verdict:
    if not versioned:
        return failed(
            f"objects of deleted attachments cannot be removed ({error})",
            f"grant s3:PutObject and s3:DeleteObject on arn:aws:s3:::{bucket}/{PREFIX}*",
        )
    return failed(
        f"bucket {bucket} keeps versions, and they cannot be removed ({error}): deleted attachments"
        " stay in the store",
        f"grant s3:ListBucketVersions and s3:GetBucketVersioning on arn:aws:s3:::{bucket}, and"
        f" s3:DeleteObjectVersion on arn:aws:s3:::{bucket}/{PREFIX}*; check that neither MFA delete"
        " nor Object Lock is on",
    )
