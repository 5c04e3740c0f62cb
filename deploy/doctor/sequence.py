"""Check that the bucket has no originals with the ids that the database will assign next."""

from deploy.doctor.examination import Examination, Verdict, failed, ok, warning
from shared import sequence
from shared.database import DatabaseForbids
from shared.errors import IdsUndecided, StoreRefused


async def check_sequence(examination: Examination) -> Verdict:
    """Search the bucket for originals with ids that the database has not assigned yet."""
    bucket = examination.settings.s3_bucket
    try:
        taken = await sequence.find_taken_id(examination.database, examination.storage)
        last_id = await examination.database.run(sequence.find_last_id)
    except StoreRefused:
        return warning(
            f"bucket {bucket} may not be listed, so it is not known whether ids are free in it",
            f"grant s3:ListBucket on arn:aws:s3:::{bucket}",
        )
    except IdsUndecided as error:
        return warning(
            f"the check of ids in bucket {bucket} was undecided: {error}",
            "run it again in some minutes, or run `attachments reconcile`, which reads all keys",
        )
    except DatabaseForbids:
        return warning(
            "the sequence of attachments.id may not be read, so it is not known whether ids are"
            " free in the bucket",
            "grant the user SELECT on the sequence of attachments.id",
        )
    if taken is not None:
        return failed(
            f"the bucket holds originals with ids up to {taken.attachment_id} or more, the database"
            f" has assigned ids only up to {taken.last_id}; an API that starts now creates no"
            " attachments",
            "restore the rows that were lost, or end the other deployment on this bucket; then run"
            " `attachments reconcile --mend`, which continues ids above all that are taken",
        )
    return ok(f"no original has an id above {last_id}, the last one assigned")
