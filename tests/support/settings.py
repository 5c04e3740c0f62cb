"""Settings that are enough to start."""

VALID = {
    "DATABASE_URL": "postgresql://user:password-of-postgres@127.0.0.1/attachments",
    "BROKER_URL": "redis://:password-of-redis@127.0.0.1",
    "S3_BUCKET": "attachments",
    "FILES_SECRET": "sixteen-letters!",
}
