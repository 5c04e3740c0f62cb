"""The tasks of the peer: Celery, boto3 and Pillow.

The clients are made when the module is imported, but connect when they are first used. So each
child process of the worker has connections of its own, and keeps them.
"""

import io
import os
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from celery import Celery
from celery.signals import worker_ready
from PIL import Image, ImageOps
from sqlalchemy import create_engine, func, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from tests.benchmarks.peers.python.peer_rows import DATABASE_URL, Upload

BUCKET: Final = os.environ["BUCKET"]
SIZE: Final = (320, 320)
SAVED: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"quality": 80, "optimize": True},
    "PNG": {},
    "WEBP": {"quality": 80},
}
"""The formats of thumbnails, with options that are the defaults of sharp."""

celery = Celery("peer", broker=os.environ["BROKER_URL"])
celery.conf.update(task_acks_late=True, task_ignore_result=True)

engine = create_engine(DATABASE_URL.set(drivername="postgresql+psycopg"))
new_session = sessionmaker(engine)
s3 = boto3.client(
    "s3",
    region_name=os.environ["REGION"],
    endpoint_url=os.environ["ENDPOINT_URL"],
    config=Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)


@dataclass(frozen=True, slots=True)
class Small:
    """A thumbnail, its content type, and the width and height of the original."""

    body: bytes
    content_type: str
    width: int
    height: int


def shrink(original: bytes) -> Small:
    """Make an upright thumbnail of at most 320×320 in the format of the original."""
    with Image.open(io.BytesIO(original)) as image:
        kind, (width, height) = str(image.format), image.size
        image.draft("RGB", SIZE)  # libjpeg then decodes an eighth to a half of each edge
        pixels: Image.Image = image
        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            pixels = image.convert("RGBA" if image.has_transparency_data else "RGB")
        pixels.thumbnail(SIZE, Image.Resampling.LANCZOS, reducing_gap=2.0)
        ImageOps.exif_transpose(pixels, in_place=True)
        file = io.BytesIO()
        pixels.save(file, kind, **SAVED[kind])
    return Small(file.getvalue(), Image.MIME[kind], width, height)


@celery.task(autoretry_for=(BotoCoreError, OperationalError), max_retries=2, retry_backoff=True)
def make_thumbnail(key: str) -> None:
    """Store the thumbnail of an object, and record what was measured."""
    original = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    small = shrink(original)
    s3.put_object(
        Bucket=BUCKET, Key=f"{key}.thumb", Body=small.body, ContentType=small.content_type
    )
    with new_session.begin() as session:
        session.execute(
            update(Upload)
            .where(Upload.key == key)
            .values(
                state="ready",
                content_type=small.content_type,
                width=small.width,
                height=small.height,
                size=len(original),
                processed_at=func.now(),
            )
        )


@worker_ready.connect
def announce(**_: object) -> None:
    """Print that the worker waits for tasks."""
    print("the worker is ready", flush=True)
