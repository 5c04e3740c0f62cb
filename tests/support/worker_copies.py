"""Functions for copies of objects that workers make."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

from tests.support.service import Client, Service
from tests.support.service_processes import WorkerProcess
from tests.support.stack import BUCKET

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


async def wanted(
    service: Service, bucket: "S3Client", name: str, content: bytes, client: Client | None = None
) -> str:
    """Create an attachment that a worker must fill with a copy of `content`, and return its id."""
    key = f"uploads/{name}"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=content)
    url = f"{service.settings.upload_url}/{key}"
    created = await (client or service.client).create(name, temp_url=url)
    assert created["data"]["meta"]["state"] == "pending"
    return str(created["data"]["id"])


def changed(**constants: object) -> dict[str, Any]:
    """Return arguments that run a worker with changed constants, such as `copying__COPIES=1`."""
    modules = {"copying": "worker.copying", "part_copies": "shared.part_copies"}
    lines = ["import runpy"]
    for name, value in constants.items():
        module, _, constant = name.partition("__")
        lines += [f"import {modules[module]}", f"{modules[module]}.{constant} = {value}"]
    lines.append("runpy.run_module('worker', run_name='__main__')")
    return {"program": ("-c", "\n".join(lines))}


class Start(Protocol):
    """A function that starts a worker whose requests to the store go through a proxy.

    Keyword arguments are settings by their names in lower case.
    """

    def __call__(
        self, service: Service, program: Any = None, **settings: str
    ) -> Awaitable[WorkerProcess]: ...


async def objects(bucket: "S3Client", key: str) -> list[str]:
    """List the keys of the objects, and of the unfinished multipart uploads, below a prefix."""
    found = await bucket.list_objects_v2(Bucket=BUCKET, Prefix=key)
    parts = await bucket.list_multipart_uploads(Bucket=BUCKET, Prefix=key)
    return [each["Key"] for each in found.get("Contents", ())] + [
        f"{each['Key']} (parts)" for each in parts.get("Uploads", ())
    ]
