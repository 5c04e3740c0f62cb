"""Comments on the columns of `attachments`, for people who read the database itself."""

from alembic import op

revision = "0012"
down_revision = "0011"

COMMENTS = {
    "id": "Its number, part of the key of its objects.",
    "organization_id": "The organization that owns it.",
    "creator_id": "The person whose token created it; null if the token names nobody.",
    "bucket": "The bucket that holds its objects.",
    "name": "The file name as the client sent it; only for display.",
    "file_name": "The name in the key of the original, made safe; never changes.",
    "thumbnail_name": "The name in the key of the thumbnail; set before the thumbnail is stored.",
    "thumbnail_spoiled": (
        "True if a worker that lost its claim may have overwritten or removed the thumbnail."
    ),
    "attachable_type": "The kind of object that it belongs to.",
    "attachable_id": "The id of the object that it belongs to, in another service.",
    "attachment_type": "inline for an attachment shown within a text, else null.",
    "message_id": "A text that the client sets; the service gives it no meaning.",
    "external_id": "A text that the client sets; the service gives it no meaning.",
    "temp_url": "The address of the file as a client sent it.",
    "content_type": "The MIME type: as the client declared it, then as measured.",
    "size": "The size of the original in bytes: as the client declared it, then as measured.",
    "width": "The width of an image in pixels, after its orientation is applied.",
    "height": "The height of an image in pixels, after its orientation is applied.",
    "pages": "The number of pages of a PDF; null for other files.",
    "checksum_sha256": "The SHA-256 of the bytes of the original, in lower-case hexadecimal.",
    "carries_more": (
        "True if bytes of another kind follow the image, or if this could not be found out."
    ),
    "state": "pending, uploaded, processing, ready, rejected, failed or expired.",
    "reason": (
        "Why it is rejected or failed, what is wrong with a ready file,"
        " or the fault of the last attempt."
    ),
    "resized": "True if the thumbnail of the current upload is stored.",
    "revision": "The number of changes recorded about the object; each upload raises it.",
    "claimed_revision": "The revision that was claimed last; 0 before the first claim.",
    "attempt": "The number of claims of claimed_revision, plus later delays by the sweep.",
    "due_at": "When the sweep must look at the row; null if it need not.",
    "etag": "The etag of the object without quotes; null if no object was seen.",
    "version_id": "The version of the object in a versioned bucket.",
    "sequencer": "The sequencer of the last recorded event that had one.",
    "created_at": "When the row was created.",
    "policy_expires_at": "When the upload policy ends, in whole seconds.",
    "uploaded_at": (
        "When the current upload was recorded; its second is the stamp in the address of the file."
    ),
    "processed_at": "When processing last ended.",
    "deleted_at": "When it was deleted; the row stays.",
    "limit_size": "The largest size in bytes that the creating client allows.",
    "limit_types": "The types that the creating client allows, each type/subtype or type/*.",
    "promised_bytes": (
        "The largest upload in bytes that its policy allows under a quota; null without a quota."
    ),
    "copy_bucket": "The source bucket of a copy that is still to be made.",
    "copy_key": (
        "The source key of a copy that is still to be made; null if there is no such copy."
    ),
    "copy_etag": "The etag that the source of the copy must have.",
    "copy_revision": (
        "The revision at which the copy was requested; a later upload cancels the copy."
    ),
    "copy_attempt": "Counts the claims of copies.",
    "copy_bytes": (
        "The size in bytes that a copy counts for the quota until the object is measured."
    ),
}


def upgrade() -> None:
    """Add the comments. Meanwhile others can still read and write the table."""
    for column, comment in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN attachments.{column} IS '{comment}'")
