"""All decoders of a worker: a pool for each kind. Organizations take turns to use them."""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial

from shared.errors import DecoderFault, Undecodable
from shared.facts import THUMB_EDGE, Facts, Thumbnail
from shared.log import get_logger
from shared.reasons import UndecodableCode
from worker.decoding.formats import Box
from worker.decoding.pool import DecoderPool
from worker.decoding.protocol import Film
from worker.packing import Packing
from worker.sandbox.cpu_time import TEND_EVERY_S
from worker.slices import Gate
from worker.stages import measured

log = get_logger(__name__)


class Decoders:
    """All decoders of a worker, of all kinds. At most `size` work at one time.

    Organizations that wait for a decoder are served in turns (`worker.slices`). A file gets a
    thumbnail for each of `edges`, or only for the first if all together are too expensive.
    """

    def __init__(
        self,
        size: int,
        *,
        timeout_s: float,
        more: Collection[str] = (),
        isolated: bool = True,
        must_be_sealed: bool = False,
        edges: Sequence[int] = (THUMB_EDGE,),
    ) -> None:
        self._edges = tuple(edges)
        self._gate = Gate(size)
        self._tending: asyncio.Task[None] | None = None
        self._pools = {
            kind: DecoderPool(
                size,
                timeout_s=timeout_s,
                kind=kind,
                more=more,
                isolated=isolated,
                must_be_sealed=must_be_sealed,
            )
            for kind in Box
        }

    async def warm_up(self) -> None:
        """Start the decoders for images. Those for documents start with the first document."""
        await self._pools[Box.IMAGES].warm_up()
        self._tending = asyncio.create_task(self._tend())

    async def decode(self, kind: Box, organization: int, descriptor: int) -> Thumbnail:
        """Decode an organization's file in a sandbox of the given `kind`; return its thumbnails.

        Raises Undecodable if decoding fails because of the file. The error has the width and height
        from the file's header; if the decoder was killed, another decoder reads the header. Raises
        DecoderFault if decoding fails for another or an unknown reason.
        """
        async with self._gate.turn(organization):
            try:
                return await self._decode(kind, organization, descriptor)
            except Undecodable as error:
                if error.code != "too_expensive" or error.facts.width is not None:
                    raise
                raise await self._measured(kind, organization, descriptor, error.code) from None

    async def decode_preview(
        self, organization: int, descriptor: int, packing: Packing
    ) -> Thumbnail:
        """Decode the preview of a document; `packing` says how the preview's bytes are packed.

        Raises Undecodable and DecoderFault as `decode` does, but does not read the header again.
        """
        async with self._gate.turn(organization):
            return await self._decode(Box.IMAGES, organization, descriptor, packing)

    async def decode_film(self, organization: int, descriptor: int, film: Film) -> Thumbnail:
        """Make the poster of a film from the ranges that were read.

        Raises RangeWanted if another range is needed, and Undecodable and DecoderFault as `decode`
        does.
        """
        async with self._gate.turn(organization):
            return await self._decode(Box.FILMS, organization, descriptor, film=film)

    async def _decode(
        self,
        kind: Box,
        organization: int,
        descriptor: int,
        packing: Packing | None = None,
        film: Film | None = None,
    ) -> Thumbnail:
        """Decode a file. If all edges are too expensive, decode it again for the first edge only.

        So no file loses its `thumb` because of the other styles.
        """
        decode = partial(
            self._pools[kind].decode, organization, descriptor, packing=packing, film=film
        )
        with measured("decode"):
            try:
                return await decode(edges=self._edges)
            except Undecodable as error:
                if error.code != "too_expensive" or len(self._edges) == 1:
                    raise
            return await decode(edges=self._edges[:1])

    async def measure(
        self, kind: Box, organization: int, descriptor: int, code: UndecodableCode
    ) -> Undecodable:
        """Read only the header of a file.

        Returns an error with the given `code` and the facts from the header.
        """
        async with self._gate.turn(organization):
            return await self._measured(kind, organization, descriptor, code)

    async def _measured(
        self, kind: Box, organization: int, descriptor: int, code: UndecodableCode
    ) -> Undecodable:
        found = Undecodable(code, Facts(carries_more=kind is Box.IMAGES))
        if kind is Box.IMAGES:
            try:
                with measured("decode"):
                    await self._pools[kind].decode(organization, descriptor, header_only=True)
            except Undecodable as error:
                found = Undecodable(code, error.facts)
            except DecoderFault as error:
                log.warning("a header could not be read", error=str(error))
        return found

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_EVERY_S)
            for pool in self._pools.values():
                try:
                    pool.tend()
                except Exception as error:  # one failure must not end the checks
                    log.error("idle decoders could not be checked", error=repr(error))

    async def close(self) -> None:
        """Stop the idle decoders.

        A busy decoder is stopped by the call of `decode` that uses it.
        """
        if self._tending is not None:
            self._tending.cancel()
        for pool in self._pools.values():
            await pool.close()
