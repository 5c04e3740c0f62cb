"""HTTP connections that free the received data if it cannot be parsed."""

from aiohttp import web
from aiohttp.web_protocol import _ErrInfo


class TidyConnection(web.RequestHandler):
    """An HTTP connection that frees data that it cannot parse, and then ends.

    The traceback of the parser's error refers to up to 256 KiB of received data, in a reference
    cycle that the garbage collector frees late. So the traceback is removed. Without that, most of
    200 MiB of such data stayed in memory for minutes.
    """

    __slots__ = ("_unreadable",)

    _unreadable: bool

    def data_received(self, data: bytes) -> None:
        """Parse received data. Data is ignored if earlier data could not be parsed."""
        if self.is_unreadable:
            return
        super().data_received(data)
        self._let_go_of_errors()

    @property
    def is_unreadable(self) -> bool:
        """True if data could not be parsed. The connection ends after the error's answer."""
        return getattr(self, "_unreadable", False)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer, and free data that could not be parsed.

        aiohttp parses data after a refused `Upgrade` only during this call.
        """
        finished = await super().finish_response(request, resp, start_time)
        self._let_go_of_errors()
        return finished

    def _let_go_of_errors(self) -> None:
        # `_messages` and `_ErrInfo` are private in aiohttp, which has the parser's error only in
        # its queue of parsed messages.
        if not self._messages or not isinstance(self._messages[-1][0], _ErrInfo):
            return
        self._unreadable = True
        error = self._messages[-1][0].exc
        error.__traceback__ = error.__cause__ = error.__context__ = None
