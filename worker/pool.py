"""The decoders of a worker: a few long-lived ones for all uploads, replaced once dead or worn."""

import asyncio
import signal
from collections.abc import Collection
from functools import cache

from shared.errors import DecoderFault, Rejected
from shared.log import get_logger
from worker.decoder import Decoder
from worker.formats import Box
from worker.thumbnails import Thumbnail

JOBS_PER_DECODER = 500

log = get_logger(__name__)


@cache
def _tell_unsealed() -> None:
    """Say it, once a process."""
    log.warning("decoders run without a filter of system calls: libseccomp is not there")


class DecoderPool:
    """As many decoders of one kind as set; each upload waits for a free one and has it alone."""

    def __init__(
        self, size: int, *, max_pixels: int, timeout_s: float,
        kind: Box = Box.IMAGES, more: Collection[str] = (), must_be_sealed: bool = False,
    ) -> None:  # fmt: skip
        self._kind = kind
        self._more = more
        self._must_be_sealed = must_be_sealed
        self._max_pixels = max_pixels
        self._timeout_s = timeout_s
        self._size = size
        # None stands for a decoder that is yet to be started.
        self._idle: asyncio.LifoQueue[Decoder | None] = asyncio.LifoQueue()
        for _ in range(size):
            self._idle.put_nowait(None)

    async def warm_up(self) -> None:
        """Start all decoders side by side; one that does not start is tried again when needed."""
        places = [self._idle.get_nowait() for _ in range(self._size)]
        started = await asyncio.gather(
            *(self._start() for place in places if place is None), return_exceptions=True
        )
        for item in started:
            if isinstance(item, BaseException):
                log.warning("decoder does not start", error=str(item))
            self._idle.put_nowait(item if isinstance(item, Decoder) else None)

    async def _start(self) -> Decoder:
        decoder = await Decoder.start(self._kind, self._more)
        if not decoder.sealed and self._must_be_sealed:
            await decoder.stop()
            log.error("decoder is not sealed: it is given no file", kind=self._kind.value)
            raise DecoderFault("decoder_fault")
        if not decoder.sealed:
            _tell_unsealed()
        return decoder

    async def decode(self, descriptor: int) -> Thumbnail:
        """Decode a file by a free decoder. Raises Rejected, or DecoderFault if the child died."""
        decoder = await self._idle.get()
        try:
            if decoder is None:
                decoder = await self._start()
            try:
                return await decoder.decode(
                    descriptor, max_pixels=self._max_pixels, timeout_s=self._timeout_s
                )
            except TimeoutError:
                log.warning("decoder killed", pid=decoder.pid, timeout_s=self._timeout_s)
                dead, decoder = decoder, None
                await dead.stop()
                raise Rejected("decoder_timeout") from None
            except (EOFError, OSError, ValueError, RecursionError) as error:
                dead, decoder = decoder, None
                status = await dead.stop()
                log.warning("decoder died", pid=dead.pid, status=status, error=str(error))
                if status == -signal.SIGXCPU:
                    raise Rejected("decoder_timeout") from None
                if dead.ran_out_of_memory():
                    raise Rejected("decoder_memory") from None
                raise DecoderFault("decoder_died") from None
            except asyncio.CancelledError:
                dead, decoder = decoder, None
                await dead.stop()
                raise
        finally:
            try:
                if decoder is not None and decoder.jobs >= JOBS_PER_DECODER:
                    worn, decoder = decoder, None
                    await worn.stop()
            finally:
                self._idle.put_nowait(decoder)

    async def close(self) -> None:
        """Stop the decoders that are idle; the others are stopped by whoever uses them."""
        while not self._idle.empty():
            decoder = self._idle.get_nowait()
            if decoder is not None:
                await decoder.stop()


class Decoders:
    """All decoders of a worker: no more are at work at one time than set, of whatever kind."""

    def __init__(
        self, size: int, *, max_pixels: int, timeout_s: float, more: Collection[str] = (),
        must_be_sealed: bool = False,
    ) -> None:  # fmt: skip
        self._slots = asyncio.Semaphore(size)
        self._pools = {
            kind: DecoderPool(
                size,
                max_pixels=max_pixels,
                timeout_s=timeout_s,
                kind=kind,
                more=more,
                must_be_sealed=must_be_sealed,
            )
            for kind in Box
        }

    async def warm_up(self) -> None:
        """Start those for images; the others are started when the first document comes."""
        await self._pools[Box.IMAGES].warm_up()

    async def decode(self, kind: Box, descriptor: int) -> Thumbnail:
        """Decode a file in a box of that kind. Raises Rejected, or DecoderFault."""
        async with self._slots:
            return await self._pools[kind].decode(descriptor)

    async def close(self) -> None:
        """Stop the decoders that are idle; the others are stopped by whoever uses them."""
        for pool in self._pools.values():
            await pool.close()
