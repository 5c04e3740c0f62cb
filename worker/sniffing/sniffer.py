"""Identify files in child processes. Each process serves one organization."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast, get_args
from weakref import WeakValueDictionary

from shared.errors import DecoderFault
from shared.log import get_logger
from worker.packing import Packing
from worker.sandbox.cpu_time import TEND_EVERY_S
from worker.sniffing.process import Child, Server
from worker.sniffing.protocol import (
    MAX_ASKED_BYTES,
    MAX_EXTENTS,
    MAX_PIECES,
    MAX_PREVIEW_BYTES,
    Identified,
    Preview,
)
from worker.sniffing.ranges import PartialFile
from worker.sniffing.signatures import image_type

PLACES: Final = 16
"""Maximum number of organizations with a child at one time. An idle child holds about 2 MiB. If
more organizations are active, a file of another organization costs a fork
(deploy/docs/decisions/libmagic-in-a-sandbox.md).
"""

FILES_PER_CHILD: Final = 5000

_NAME: Final = re.compile(
    r"[a-z][\w.+-]{0,126}/\w[\w.+-]{0,126}(?:; charset=[a-z0-9-]{1,40})?", re.ASCII
)
_FAULT: Final = re.compile(r"\w{1,60} in [\w.<>]{1,60}:\d{1,6}", re.ASCII)

Read = Callable[[int, int], Awaitable[bytes]]
"""A function that reads the bytes of a file from a start to an end, which is excluded."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The content type of a file. If it is a document with a preview, also the preview's place, and
    the bytes of the file that were read so far.
    """

    content_type: str
    preview: Preview | None = None
    known: PartialFile | None = None


class Sniffers:
    """A fork server and at most PLACES children, each for the files of one organization."""

    def __init__(self, *, timeout_s: float, must_be_sealed: bool = False) -> None:
        self._timeout_s = timeout_s
        self._must_be_sealed = must_be_sealed
        self._server: Server | None = None
        self._starting = asyncio.Lock()
        self._places = asyncio.Semaphore(PLACES)
        self._idle: OrderedDict[int, Child] = OrderedDict()
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._children = 0
        self._tending: asyncio.Task[None] | None = None

    async def warm_up(self) -> None:
        """Start the fork server, and the regular check of idle children.

        If the server does not start, that is logged. The next file then starts it.
        """
        self._tending = asyncio.create_task(self._tend())
        try:
            await self._serving()
        except DecoderFault as error:
            log.warning("sniffers do not start", error=str(error))

    async def identify(self, organization_id: int, head: bytes, size: int, read: Read) -> Sniffed:
        """Return the content type of a file of `size` bytes. `head` is its first 64 KiB or less.

        Calls `read` for the ranges that `identify.identify_document` requests, and passes on its
        exceptions. Raises DecoderFault: `decoder_died` if the child died or used too much CPU time,
        `decoder_stalled` if it did not answer in time, `decoder_fault` if no child can be started
        or the child reports a bug. May be repeated.
        """
        if (name := image_type(head)) is not None:
            return Sniffed(name)
        pieces, known = [head], PartialFile(head, size)
        while True:
            found = await self._ask(organization_id, size, pieces)
            if isinstance(found, Identified):
                return Sniffed(found.name, found.preview, known if found.preview else None)
            pieces.append(await read(*found))
            known.learn(found[0], pieces[-1])

    async def _ask(
        self, organization_id: int, size: int, pieces: list[bytes]
    ) -> Identified | tuple[int, int]:
        turn = self._turns.setdefault(organization_id, asyncio.Lock())
        # One file per organization at a time, so slow files delay only their own organization.
        async with turn, self._places:
            child = await self._take(organization_id)
            try:
                answer = await child.ask(size, pieces, timeout_s=self._timeout_s)
                found = check_answer(answer, size, pieces)
            except (TimeoutError, EOFError, OSError, ValueError, RecursionError) as error:
                status = await self._end(child)
                fault = f"{type(error).__name__}: {error}"
                log.warning("sniffer died", pid=child.pid, status=status, error=fault)
                # The machine may have caused a wall-clock timeout, so the file is not blamed for
                # it.
                stalled = isinstance(error, TimeoutError)
                raise DecoderFault("decoder_stalled" if stalled else "decoder_died") from None
            except DecoderFault:
                await self._end(child)
                raise
            except asyncio.CancelledError:
                await self._end(child)  # otherwise the next file could get this file's answer
                raise
            child.files += 1
            if child.files >= FILES_PER_CHILD:
                await self._end(child)
            else:
                self._idle[organization_id] = child
            return found

    async def _take(self, organization_id: int) -> Child:
        """Take the organization's idle child, else fork one. Raises DecoderFault.

        If PLACES children exist already, the one that was idle for longest is ended first.
        """
        child = self._idle.pop(organization_id, None)
        if child is not None and await self._is_fit(child):
            return child
        while self._idle and self._children >= PLACES:
            _, oldest = self._idle.popitem(last=False)
            await self._end(oldest)
        return await self._fork()

    async def _is_fit(self, child: Child) -> bool:
        """Return True if an idle child may get a file. If it was active without a file, end it."""
        fault = child.idle_fault()
        if fault is not None:
            status = await self._end(child)
            log.warning("idle sniffer killed", pid=child.pid, status=status, error=fault)
        return fault is None

    async def _tend(self) -> None:
        """End idle children that were active without a job. Checks about once a second."""
        while True:
            await asyncio.sleep(TEND_EVERY_S)
            try:
                for organization_id, child in list(self._idle.items()):
                    # While this task ended another child, another task may have taken or ended
                    # this child.
                    if self._idle.get(organization_id) is child and child.idle_fault() is not None:
                        del self._idle[organization_id]
                        await self._is_fit(child)
            except Exception as error:  # a failed check must not prevent the next one
                log.error("idle sniffers could not be checked", error=repr(error))

    async def _fork(self) -> Child:
        self._children += 1  # counted before the fork, so that concurrent callers see this child
        try:
            child = await (await self._serving()).fork()
        except BaseException as error:
            self._children -= 1
            if isinstance(error, EOFError | OSError):
                raise DecoderFault("decoder_fault") from error
            raise
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await child.answer()
        except (TimeoutError, EOFError, OSError, ValueError) as error:
            await self._end(child)
            raise DecoderFault("decoder_fault") from error
        except asyncio.CancelledError:
            await self._end(child)
            raise
        if self._must_be_sealed and answer != {"sealed": True}:
            await self._end(child)
            log.error("sniffer is not sealed: no file is sent to it")
            raise DecoderFault("decoder_fault")
        return child

    async def _serving(self) -> Server:
        """Return the fork server; if it has died, start a new one. Raises DecoderFault."""
        async with self._starting:
            if self._server is not None and not self._server.lives:
                dead, self._server = self._server, None
                log.warning("the fork server of the sniffers died")
                while self._idle:  # the children have died with the server
                    _, child = self._idle.popitem()
                    child.channel.close()
                    self._children -= 1
                await dead.stop()
            if self._server is None:
                self._server = await Server.start()
            return self._server

    async def _end(self, child: Child) -> int | None:
        """End a child; return its exit status, or None if it has died with the server."""
        self._children -= 1
        if child.server.lives:
            with suppress(EOFError, OSError):
                return await child.server.end(child)
        child.channel.close()
        return None

    async def close(self) -> None:
        """End the server and all children. After that, no other method may be called."""
        if self._tending is not None:
            self._tending.cancel()
        while self._idle:
            self._idle.popitem()[1].channel.close()
        if self._server is not None:
            await self._server.stop()


def check_answer(answer: Any, size: int, pieces: list[bytes]) -> Identified | tuple[int, int]:
    """Check an answer before it is used, because a hostile file may have written it.

    Returns what the file is, or the range to read. Raises EOFError if the answer is malformed, and
    DecoderFault if it reports a bug.
    """
    match answer:
        case {"name": str(name)} if _NAME.fullmatch(name):
            return Identified(name, _checked_preview(answer.get("preview"), size))
        case {"range": [int(start), int(end)]} if (
            type(start) is type(end) is int
            and 0 <= start < end <= size
            and len(pieces) < MAX_PIECES
            and sum(map(len, pieces[1:])) + end - start <= MAX_ASKED_BYTES
        ):
            return start, end
        case {"fault": str(fault)} if _FAULT.fullmatch(fault):
            log.error("unexpected error in a sniffer", fault=fault)
            raise DecoderFault("decoder_fault")
    raise EOFError("the answer is malformed")


def _checked_preview(preview: Any, size: int) -> Preview | None:
    """Return the preview in an answer, or None. Raises EOFError if the preview is malformed."""
    match preview:
        case None:
            return None
        case {"extents": [*extents], "packing": str(packing)} if (
            packing in get_args(Packing) and len(extents) <= MAX_EXTENTS
        ):
            checked = []
            for extent in extents:
                match extent:
                    case [int(start), int(end)] if (
                        type(start) is type(end) is int and 0 <= start < end <= size
                    ):
                        checked.append((start, end))
                    case _:
                        raise EOFError("the answer is malformed")
            if 0 < sum(end - start for start, end in checked) <= MAX_PREVIEW_BYTES:
                return Preview(tuple(checked), cast(Packing, packing))
    raise EOFError("the answer is malformed")
