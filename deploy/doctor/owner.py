"""Check that the bucket belongs to this deployment."""

from deploy.doctor.examination import Examination, Verdict, failed, ok, warning
from shared.bucket_owner import MARKER, find_other_bucket, find_owner
from shared.database import DatabaseForbids
from shared.errors import StoreRefused


async def check_owner(examination: Examination) -> Verdict:
    """Check that the bucket's marker object has the deployment's id, and that no row disagrees."""
    bucket = examination.settings.s3_bucket
    try:
        owner = await find_owner(examination.database, examination.storage)
    except StoreRefused as error:
        return warning(
            f"the owner of bucket {bucket} cannot be read: the store refuses to read {MARKER}"
            f" ({error})",
            f"grant s3:GetObject and s3:PutObject on arn:aws:s3:::{bucket}/{MARKER}, and"
            f" s3:ListBucket on arn:aws:s3:::{bucket}",
        )
    except DatabaseForbids:
        return warning(
            "the table deployment may not be read, so the owner of the bucket is unknown",
            "grant the user SELECT and INSERT on the table deployment",
        )
    if owner.is_foreign:
        return failed(
            f"bucket {bucket} belongs to deployment {owner.theirs}, but this database is of"
            f" deployment {owner.ours}; no API starts, and workers do nothing",
            "name another bucket in ATTACHMENTS_S3_BUCKET; or, if this database replaces the other"
            " one after a restore, end all processes of the other and run `attachments reconcile"
            " --mend`, which takes the bucket over",
        )
    if (other := await examination.database.run(find_other_bucket, bucket)) is not None:
        return warning(
            f"rows name bucket {other}, but ATTACHMENTS_S3_BUCKET is {bucket}: their files are not"
            " served",
            "set it back; or copy the objects below attachments/files/ to the new bucket, and run"
            " `attachments reconcile --mend`",
        )
    if owner.has_strangers:
        return warning(
            f"bucket {bucket} has no marker, and holds originals that no row describes: it may be"
            " another deployment's",
            "if it is not, run `attachments reconcile --mend`, which marks it as this deployment's",
        )
    if owner.theirs is None:
        return ok(f"bucket {bucket} has no owner yet; an API or worker that runs marks it as ours")
    return ok(f"bucket {bucket} belongs to this deployment")
