"""Many randomly changed files are uploaded at the same time, and each gets a final state."""

from collections.abc import Sequence

import pytest

from tests.data import further, images
from tests.data.mutations import mutated
from tests.data.sample import ANY_OUTCOME, DOCUMENT
from tests.data.seeds import ALWAYS, FILMS, MORE
from tests.support.batches import outcome, settle_all, upload_all, worker_of
from tests.support.service import Service
from tests.support.starting import StartService, StartWorker

ALLOWED = ANY_OUTCOME | DOCUMENT | {("rejected", "reserved_type")}
"""The final states, each with its reason, that a changed file may get.

Internal errors and timeouts are not allowed: a small file must not cause them.
"""

SHOWN = {("ready", None), ("ready", "damaged")}
"""The pairs of state and reason with which an attachment may have a thumbnail."""


async def all_come_to_an_end(service: Service, formats: Sequence[str], count: int) -> None:
    """Upload `count` mutated files of these formats, and check their final states."""
    worker = worker_of(service)
    files = [(formats[number % len(formats)], number) for number in range(count)]
    ids = await upload_all(
        service, [(f"x.{name}", mutated(name, number)) for name, number in files]
    )
    left = set(await settle_all(service, ids))
    named = dict(zip(ids, files, strict=True))
    rows = await service.database.fetch(
        "SELECT id, state, reason, attempt, size, resized FROM attachments WHERE id = ANY($1)",
        [int(attachment_id) for attachment_id in ids],
    )
    wrong = [
        (named[str(row["id"])], row["state"], row["reason"], row["attempt"])
        for row in rows
        if str(row["id"]) in left
        or (row["state"], row["reason"]) not in ALLOWED
        or row["attempt"] != 1
        or (row["resized"] and (row["state"], row["reason"]) not in SHOWN)
        or row["size"] != len(mutated(*named[str(row["id"])]))
    ]
    assert not wrong
    assert len(rows) == count
    good = await service.client.upload(images.photo(), "img.jpg")
    assert outcome(await service.client.settled(good)) == ("ready", None)
    assert worker_of(service) == worker


@pytest.mark.parametrize("count", [240, pytest.param(2000, marks=pytest.mark.soak)])
async def test_mutated_files_come_to_an_end_and_end_no_worker(working: Service, count: int) -> None:
    await all_come_to_an_end(working, list(ALWAYS), count)


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.soak)])
async def test_row86_mutated_files_of_further_formats_come_to_an_end_and_end_no_worker(
    start_service: StartService, start_worker: StartWorker, count: int
) -> None:
    service = await start_service()
    await start_worker(service, more_formats=further.SETTING)
    await all_come_to_an_end(service, [*MORE, *FILMS], count)
