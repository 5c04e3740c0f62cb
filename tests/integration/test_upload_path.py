"""An upload passes through the worker's modules as the docstring of the package `worker` says."""

import asyncio
import inspect
import os
import re
import sys
from collections import Counter
from contextlib import AsyncExitStack
from types import FrameType
from typing import Any
from unittest import mock

import worker
from shared.lifecycle import WakeUp
from shared.log import get_logger
from shared.storage import Storage
from shared.throttle import Throttle
from tests.data import images
from tests.data.unlisted import UNLISTED
from tests.support.service import Service
from tests.support.stack import Stack
from worker.attempts import Attempts
from worker.copying import open_copying
from worker.jobs import Jobs
from worker.leases import Leases
from worker.reception import Reception
from worker.slots import Slots
from worker.tools import open_tools

FOLDERS = ("worker.decoding", "worker.sniffing")
"""Folders that count as one module. Calls between their files are not followed."""

RECORDS = {"shared.attachments", "shared.facts", "shared.keys", "shared.reserved", "shared.styles"}
"""Modules that contain only records and pure functions. Calls to them are not counted."""

MORE_THAN_ONCE = "entered more than once:"
"""The words before the list of modules in the docstring of the package `worker`."""

PASSED_ON = {"shared.lifecycle": "shared.database"}
"""Modules whose functions the worker does not call directly, each with the module that
calls them.
"""


class Entries:
    """A profile function that counts how often the worker's modules enter other modules."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.start: list[str] = []
        self.first_read: list[str] = []
        self._started: set[FrameType] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Count the start of a function. A coroutine that continues is not counted again."""
        entered = module_of(frame)
        if event != "call" or entered is None or frame in self._started:
            return
        # Keep each frame, because Python may reuse the address of a deleted frame for a new one.
        self._started.add(frame)
        if frame.f_code is Jobs.start.__code__:
            self.start = self.start or calls_to(frame)
        elif frame.f_code is inspect.unwrap(Storage.read).__code__:
            self.first_read = self.first_read or calls_to(frame)
        caller = frame.f_back
        while caller is not None and module_of(caller) in (None, PASSED_ON.get(entered)):
            caller = caller.f_back
        origin = None if caller is None else module_of(caller)
        if origin in (None, entered, *FOLDERS) or entered in RECORDS:
            return
        assert origin is not None
        self.counted[entered] += origin.startswith("worker.")


def module_of(frame: FrameType) -> str | None:
    """Return the module or folder of a frame, or None if it is not in `worker` or `shared`."""
    name = str(frame.f_globals.get("__name__", ""))
    if not name.startswith(("worker.", "shared.")):
        return None
    return next((folder for folder in FOLDERS if name.startswith(f"{folder}.")), name)


def calls_to(frame: FrameType) -> list[str]:
    """Return the functions of the service that led to a frame, the outermost first."""
    found: list[str] = []
    while (caller := frame.f_back) is not None:
        frame = caller
        if module_of(frame) is not None:
            found.insert(0, frame.f_code.co_name)
    return found


async def process(service: Service, name: str, body: bytes) -> tuple[Entries, str]:
    """Process one upload in this process; return the counted modules and the final state."""
    attachment_id = int(await service.client.upload(body, name=name))
    await service.execute(
        "UPDATE attachments SET state = 'uploaded', revision = 1 WHERE id = $1", attachment_id
    )
    jobs, throttle, slots = Jobs(), Throttle(get_logger("tests").warning), Slots(8)
    entries = Entries()
    async with AsyncExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, service.environment))
        tools = await stack.enter_async_context(open_tools(service.settings))
        stack.callback(throttle.close)
        copying = await stack.enter_async_context(open_copying(tools, lambda _: None, throttle))
        leases = Leases(tools.database, lease_s=30)
        given_back = asyncio.Event()
        attempts = Attempts(tools, slots, leases, copying, jobs, throttle, given_back=given_back)
        reception = Reception(slots, jobs, attempts.attempt, throttle)
        wake_up = WakeUp(
            attachment_id=attachment_id,
            organization_id=service.client.organization_id,
            revision=1,
        )
        sys.setprofile(entries)
        try:
            reception.receive(wake_up)
            await jobs.end(within_s=60)
        finally:
            sys.setprofile(None)
    return entries, (await service.row(str(attachment_id))).state


def listed() -> set[str]:
    """Return the modules that the docstring of `worker` lists as entered more than once."""
    text = (worker.__doc__ or "").split(MORE_THAN_ONCE)[1]
    return set(re.findall(r"^    ((?:worker|shared)\.\w+)  ", text, re.MULTILINE))


async def test_an_upload_enters_each_module_once_or_the_docstring_says_why(
    stack: Stack, service: Service
) -> None:
    stack.relay.target = None  # drop the store's event, which would wake another worker
    make, _ = UNLISTED["jp2"]
    shown, state = await process(service, "a.png", images.encode(images.quadrants(), "PNG"))
    kept, other_state = await process(service, "a.jp2", make())
    assert (state, other_state) == ("ready", "ready")
    counted = shown.counted | kept.counted
    assert {name for name, count in counted.items() if count > 1} == listed()
    assert {"worker.pipeline", "worker.thumbnails", "worker.judging"} <= shown.counted.keys()
    for entries in (shown, kept):
        path = [*entries.start, *entries.first_read]
        assert path == ["receive", "attempt", "process", "examine"] == drawn()[1:]


def drawn() -> list[str]:
    """Return the functions in the drawing in the docstring of `worker`.

    The first one starts the task, and the last one reads the first byte.
    """
    return re.findall(r"^    (\w+) +worker\.\w+ {2,}\w", introduction(), re.MULTILINE)


def introduction() -> str:
    """Return the docstring of `worker` up to its list of modules."""
    return (worker.__doc__ or "").split(MORE_THAN_ONCE)[0]


def test_the_docstring_names_the_modules_that_are_not_counted() -> None:
    assert set(re.findall(r"`(shared\.\w+)`", introduction())) == RECORDS
