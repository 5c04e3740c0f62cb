"""The decoders of one kind: start, keep and end them. Each decoder serves one organization."""

import asyncio
import signal
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from contextvars import Context
from functools import cache
from typing import Final

from shared.errors import DecoderFault, Undecodable
from shared.facts import THUMB_EDGE, Facts, Thumbnail
from shared.log import get_logger
from worker.decoding.forks import Source
from worker.decoding.formats import Box
from worker.decoding.process import OWN_ENDS, Decoder, TooExpensive
from worker.decoding.protocol import Film
from worker.measuring import DECODER_STARTS, DECODERS_BUSY, KillCause, count_kill, note_peak
from worker.packing import Packing

JOBS_PER_DECODER = 500

SPARES: Final = 2
"""Maximum number of spare decoders. If `size` is smaller, `size` is the maximum. Spare decoders are
sealed and belong to no organization yet. A few are enough: two organizations that take turns need a
spare decoder about every 50 ms, and a fork takes 5 ms."""

KEPT: Final = 16
"""At most `size` plus this number of decoders belong to organizations. If more organizations are
active at the same time, most turns need a new decoder. A new decoder costs as much CPU time as a
small JPEG. An idle decoder usually has 3 to 9 MiB of its own memory, never much more than
MAX_IDLE_BYTES."""

MAX_IDLE_BYTES: Final = 64 * 1024**2
"""Maximum resident memory, in bytes, of a decoder that is used again. After most images, a decoder
has less than 25 MiB. After an image of 49 megapixels, glibc may keep 200 MiB of freed memory, so
the decoder is replaced. Without this limit, an attacker's images could leave idle decoders with 1
GiB each."""

KEPT_S: Final = 60.0
"""Time, in seconds, without a job after which a decoder beyond `size` is ended."""

log = get_logger(__name__)


@cache
def warn_unsealed() -> None:
    """Log once per process that decoders run without a seccomp filter."""
    log.warning("decoders run without a filter of system calls: libseccomp is missing")


def _cause(kind: Box, status: int, dead: Decoder) -> KillCause:
    """Return why a decoder ended without an answer."""
    if status == -signal.SIGXCPU:
        return "cpu_time"
    if dead.ran_out_of_memory():
        return "memory"
    # The Rust code that draws aborts if an allocation fails or if its stack is full, even if the
    # decoder uses little memory.
    if kind is Box.DRAWINGS and status in OWN_ENDS:
        return "memory"
    # SIGALRM comes from the decoder's own timer (`child.run_job`). The timer ends the decoder only
    # if the worker has not ended it in time, for example because the worker was suspended.
    return "wall_clock" if status == -signal.SIGALRM else "died"


class DecoderPool:
    """The decoders of one kind: those that belong to an organization, and a few spare ones.

    The caller of `decode` must run at most `size` jobs at one time. If `isolated` is true, a
    decoder that has had a file of one organization never gets a file of another, and an idle
    decoder stays with its organization. At most `size` + KEPT decoders belong to organizations. If
    one more is needed, the decoder that was idle for longest is killed.
    """

    def __init__(
        self,
        size: int,
        *,
        timeout_s: float,
        kind: Box = Box.IMAGES,
        more: Collection[str] = (),
        isolated: bool = True,
        must_be_sealed: bool = False,
    ) -> None:
        self._kind = kind
        self._must_be_sealed = must_be_sealed
        self._size = size
        self._timeout_s = timeout_s
        self._isolated = isolated
        self._source = Source(kind, more)
        self._busy = DECODERS_BUSY.labels(kind.value)
        self._starts = DECODER_STARTS.labels(kind.value)
        self._wanted = False
        self._owned = 0
        self._idle: list[Decoder] = []  # the decoder that was used last is at the end
        self._spares: deque[Decoder] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[int]] = set()

    async def warm_up(self) -> None:
        """Start the spare decoders. If this fails, a decoder is started when it is needed."""
        self._wanted = True
        await self._fill()

    async def decode(
        self,
        organization: int,
        descriptor: int,
        *,
        header_only: bool = False,
        packing: Packing | None = None,
        edges: Sequence[int] = (THUMB_EDGE,),
        film: Film | None = None,
    ) -> Thumbnail:
        """Decode a file of an organization, or the preview of a document with its `packing`.

        Returns a thumbnail for each of `edges`. Of a `film`, the file holds only some ranges.
        Raises RangeWanted if another range is needed, Undecodable if decoding fails because of the
        file, and DecoderFault if the decoder died. With `header_only`, it always raises
        Undecodable, with the facts from the header.
        """
        decoder: Decoder | None = await self._take(organization if self._isolated else 0)
        assert decoder is not None
        self._busy.inc()
        try:
            return await decoder.decode(
                descriptor,
                timeout_s=self._timeout_s,
                header_only=header_only,
                packing=packing,
                edges=edges,
                film=film,
            )
        except (TimeoutError, TooExpensive) as error:
            cause = str(error) or "not finished in time"
            log.warning("decoder killed", pid=decoder.pid, timeout_s=self._timeout_s, error=cause)
            dead, decoder = decoder, None
            await dead.stop()
            expensive = isinstance(error, TooExpensive)
            count_kill(self._kind, "cpu_time" if expensive else "wall_clock", dead.peak_bytes)
            if expensive:
                raise Undecodable("too_expensive", Facts(carries_more=True)) from None
            # The decoder used little CPU time, so perhaps the machine caused the delay.
            raise DecoderFault("decoder_stalled") from None
        except (EOFError, OSError, ValueError, RecursionError) as error:
            dead, decoder = decoder, None
            status = await dead.stop()
            log.warning("decoder died", pid=dead.pid, status=status, error=str(error))
            kill = _cause(self._kind, status, dead)
            count_kill(self._kind, kill, dead.peak_bytes)
            if kill in ("cpu_time", "memory"):
                raise Undecodable("too_expensive", Facts(carries_more=True)) from None
            stalled = kill == "wall_clock"
            raise DecoderFault("decoder_stalled" if stalled else "decoder_died") from None
        except asyncio.CancelledError:
            dead, decoder = decoder, None
            await dead.stop()
            count_kill(self._kind, "cancelled", dead.peak_bytes)
            raise
        finally:
            self._busy.dec()
            await self._give_back(decoder)

    async def _take(self, owner: int) -> Decoder:
        """Take the owner's idle decoder, or else a spare or new one. Raises DecoderFault."""
        self._wanted = True
        for decoder in [each for each in reversed(self._idle) if each.owner == owner]:
            self._idle.remove(decoder)
            if self._is_fit(decoder):
                return decoder
            self._owned -= 1
        if self._owned >= self._size + KEPT and self._idle:
            self._end(self._idle.pop(0))
        else:
            self._owned += 1
        try:
            decoder = self._take_spare() or await self._start()
        except BaseException:
            self._owned -= 1
            raise
        self._refill()
        decoder.owner = owner
        return decoder

    def _take_spare(self) -> Decoder | None:
        while self._spares:
            spare = self._spares.popleft()
            if self._is_fit(spare):
                return spare
        return None

    async def _give_back(self, decoder: Decoder | None) -> None:
        try:
            if decoder is not None:
                resident, peak = decoder.resident_bytes()
                note_peak(self._kind, peak)
                if decoder.jobs >= JOBS_PER_DECODER or resident > MAX_IDLE_BYTES:
                    worn, decoder = decoder, None
                    await worn.stop()
        finally:
            if decoder is None:
                self._owned -= 1
            else:
                decoder.idle_since = asyncio.get_running_loop().time()
                self._idle.append(decoder)

    def _is_fit(self, decoder: Decoder) -> bool:
        """Return True if an idle decoder may get a job. Kill it if it was active without a job."""
        fault = decoder.idle_fault()
        if fault is not None:
            log.warning("idle decoder killed", pid=decoder.pid, error=fault)
            count_kill(self._kind, "idle", 0)
            self._end(decoder)
        return fault is None

    def _end(self, decoder: Decoder) -> None:
        """Stop a decoder in the background, so that the next job does not wait for this."""
        ending = asyncio.create_task(decoder.stop())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _start(self) -> Decoder:
        decoder = await self._source.start()
        self._starts.inc()
        if not decoder.sealed and self._must_be_sealed:
            await decoder.stop()
            log.error("decoder is not sealed: no file is sent to it", kind=self._kind.value)
            raise DecoderFault("decoder_fault")
        if not decoder.sealed:
            warn_unsealed()
        return decoder

    def _refill(self) -> None:
        if self._filling is None or self._filling.done():
            # The context is empty, so that the log lines of this task do not have the fields of an
            # attempt.
            self._filling = asyncio.create_task(self._fill(), context=Context())

    async def _fill(self) -> None:
        """Start spare decoders one after the other until there are enough."""
        while len(self._spares) < min(self._size, SPARES):
            try:
                self._spares.append(await self._start())
            except DecoderFault as error:
                log.warning("decoder does not start", error=str(error.__cause__ or error))
                return

    def tend(self) -> None:
        """Kill idle decoders that were active without a job or idle too long. Add spare ones."""
        for decoder in list(self._idle):
            if not self._is_fit(decoder):
                self._idle.remove(decoder)
                self._owned -= 1
        too_old = asyncio.get_running_loop().time() - KEPT_S
        while self._owned > self._size and self._idle and self._idle[0].idle_since < too_old:
            self._owned -= 1
            self._end(self._idle.pop(0))
        for decoder in list(self._spares):
            if not self._is_fit(decoder):
                self._spares.remove(decoder)
        if self._wanted:
            self._refill()

    async def close(self) -> None:
        """Stop the idle decoders. A busy decoder is stopped by its call of `decode`."""
        self._wanted = False
        if self._filling is not None:
            self._filling.cancel()
            with suppress(asyncio.CancelledError):
                await self._filling
        while self._idle or self._spares:
            decoder = self._spares.popleft() if self._spares else self._idle.pop()
            self._owned -= decoder.owner is not None
            await decoder.stop()
        if self._ending:
            await asyncio.wait(self._ending)
        await self._source.close()
