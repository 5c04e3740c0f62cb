"""HTTP connections that do not keep data that they could not parse."""

from aiohttp import web
from aiohttp.web_protocol import _ErrInfo


class TidyConnection(web.RequestHandler):
    """Reads nothing after data that could not be parsed, and drops the parser error's traceback.

    The frames of the traceback refer to up to 256 KiB of received data, in a reference cycle that
    the garbage collector frees late. When unknown clients sent 200 MiB, most of these bytes stayed
    in memory for minutes.
    """

    __slots__ = ("_unreadable",)

    _unreadable: bool

    def data_received(self, data: bytes) -> None:
        """Process the received data, unless the connection is about to end."""
        if self.is_unreadable:
            return
        super().data_received(data)
        self._let_go_of_errors()

    @property
    def is_unreadable(self) -> bool:
        """True if data could not be parsed; the connection ends after the answer to it."""
        return getattr(self, "_unreadable", False)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer. Data after a refused `Upgrade` is parsed only during this call."""
        finished = await super().finish_response(request, resp, start_time)
        self._let_go_of_errors()
        return finished

    def _let_go_of_errors(self) -> None:
        # `_messages` and `_ErrInfo` are private in aiohttp: only its queue of parsed messages has
        # the error.
        if not self._messages or not isinstance(self._messages[-1][0], _ErrInfo):
            return
        self._unreadable = True
        error = self._messages[-1][0].exc
        error.__traceback__ = error.__cause__ = error.__context__ = None
