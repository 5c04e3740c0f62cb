"""Files are identified by child processes that each serve one organization."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from weakref import WeakValueDictionary

from shared.errors import DecoderFault
from shared.log import get_logger
from worker.decoding.pool import TEND_EVERY_S
from worker.sniffing.process import Child, Server
from worker.sniffing.protocol import MAX_ASKED_BYTES, MAX_PIECES
from worker.sniffing.signatures import image_type

PLACES: Final = 16
"""How many organizations have a child at the same time; an idle one holds some 2 MiB. Where more
are active, another organization's file costs a fork (deploy/docs/decisions/libmagic-in-a-box.md).
"""

FILES_PER_CHILD: Final = 5000

_NAME: Final = re.compile(
    r"[a-z][\w.+-]{0,126}/\w[\w.+-]{0,126}(?:; charset=[a-z0-9-]{1,40})?", re.ASCII
)
_FAULT: Final = re.compile(r"\w{1,60} in [\w.<>]{1,60}:\d{1,6}", re.ASCII)

Read = Callable[[int, int], Awaitable[bytes]]
"""Reads the bytes of a file from a start to an end."""

log = get_logger(__name__)


class Sniffers:
    """A fork server and its children: as many as PLACES, each for one organization's files."""

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
        """Start the fork server, and look at idle children from now on.

        If the server does not start, it is tried again when needed.
        """
        self._tending = asyncio.create_task(self._tend())
        try:
            await self._serving()
        except DecoderFault as error:
            log.warning("sniffers do not start", error=str(error))

    async def identify(self, organization_id: int, head: bytes, size: int, read: Read) -> str:
        """Name the content type of a file of `size` bytes that begins with `head`, up to 64 KiB.

        `read` is asked for a few ranges more, as `sniff.identify` says; what it raises is passed
        on. Raises DecoderFault: `decoder_died` if the child died of the file or computed for too
        long, `decoder_stalled` if it came to no end in time, `decoder_fault` if no child can be had
        or it found a bug of ours.
        """
        if (name := image_type(head)) is not None:
            return name
        pieces = [head]
        while True:
            found = await self._ask(organization_id, size, pieces)
            if isinstance(found, str):
                return found
            pieces.append(await read(*found))

    async def _ask(
        self, organization_id: int, size: int, pieces: list[bytes]
    ) -> str | tuple[int, int]:
        turn = self._turns.setdefault(organization_id, asyncio.Lock())
        async with turn, self._places:  # one turn each: slow files delay their own organization
            child = await self._take(organization_id)
            try:
                answer = await child.ask(size, pieces, timeout_s=self._timeout_s)
                found = _checked(answer, size, pieces)
            except (TimeoutError, EOFError, OSError, ValueError, RecursionError) as error:
                status = await self._end(child)
                fault = f"{type(error).__name__}: {error}"
                log.warning("sniffer died", pid=child.pid, status=status, error=fault)
                # Time on the wall tells of the machine, not of the file.
                stalled = isinstance(error, TimeoutError)
                raise DecoderFault("decoder_stalled" if stalled else "decoder_died") from None
            except DecoderFault:
                await self._end(child)
                raise
            except asyncio.CancelledError:
                await self._end(child)  # its answer may still come, and is not the next file's
                raise
            child.files += 1
            if child.files >= FILES_PER_CHILD:
                await self._end(child)
            else:
                self._idle[organization_id] = child
            return found

    async def _take(self, organization_id: int) -> Child:
        """Take the organization's child, or have one forked in place of the one idle for longest.

        Raises DecoderFault.
        """
        child = self._idle.pop(organization_id, None)
        if child is not None and await self._is_fit(child):
            return child
        while self._idle and self._children >= PLACES:
            _, oldest = self._idle.popitem(last=False)
            await self._end(oldest)
        return await self._fork()

    async def _is_fit(self, child: Child) -> bool:
        """Whether an idle child may have a file; one that did anything without one is ended."""
        fault = child.idle_fault()
        if fault is not None:
            status = await self._end(child)
            log.warning("idle sniffer killed", pid=child.pid, status=status, error=fault)
        return fault is None

    async def _tend(self) -> None:
        """End idle children that did anything without a question, about once a second."""
        while True:
            await asyncio.sleep(TEND_EVERY_S)
            try:
                for organization_id, child in list(self._idle.items()):
                    # Others may have taken or ended it while one before it was ended.
                    if self._idle.get(organization_id) is child and child.idle_fault() is not None:
                        del self._idle[organization_id]
                        await self._is_fit(child)
            except Exception as error:  # the next look must come, whatever went wrong in this one
                log.error("idle sniffers could not be looked at", error=repr(error))

    async def _fork(self) -> Child:
        self._children += 1  # now, so that others who fork at the same time see it
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
            log.error("sniffer is not sealed: it is given no file")
            raise DecoderFault("decoder_fault")
        return child

    async def _serving(self) -> Server:
        """Give the fork server, started anew if it has died. Raises DecoderFault."""
        async with self._starting:
            if self._server is not None and not self._server.lives:
                dead, self._server = self._server, None
                log.warning("the server of sniffers died")
                while self._idle:  # they have died with it
                    _, child = self._idle.popitem()
                    child.channel.close()
                    self._children -= 1
                await dead.stop()
            if self._server is None:
                self._server = await Server.start()
            return self._server

    async def _end(self, child: Child) -> int | None:
        """End a child; gives its exit status, None if the server is gone and the child with it."""
        self._children -= 1
        if child.server.lives:
            with suppress(EOFError, OSError):
                return await child.server.end(child)
        child.channel.close()
        return None

    async def close(self) -> None:
        """End the server and all children."""
        if self._tending is not None:
            self._tending.cancel()
        while self._idle:
            self._idle.popitem()[1].channel.close()
        if self._server is not None:
            await self._server.stop()


def _checked(answer: Any, size: int, pieces: list[bytes]) -> str | tuple[int, int]:
    """Check an answer before it is used: the file may have taken the child over.

    Raises EOFError if it makes no sense, DecoderFault if it tells of a bug.
    """
    match answer:
        case {"name": str(name)} if _NAME.fullmatch(name):
            return name
        case {"range": [int(start), int(end)]} if (
            type(start) is type(end) is int
            and 0 <= start < end <= size
            and len(pieces) < MAX_PIECES
            and sum(map(len, pieces[1:])) + end - start <= MAX_ASKED_BYTES
        ):
            return start, end
        case {"fault": str(fault)} if _FAULT.fullmatch(fault):
            log.error("sniffer found a bug", fault=fault)
            raise DecoderFault("decoder_fault")
    raise EOFError("the answer makes no sense")
