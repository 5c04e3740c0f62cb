"""A proxy in front of the store that refuses some requests, as a bucket policy would."""

from tests.support.proxy import Proxy, Stream

REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 41\r\n\r\n"
    b"<Error><Code>AccessDenied</Code></Error>\r\n"
)


class Refusing(Proxy):
    """A proxy that refuses a request whose first line contains one of the texts in `forbidden`.

    `asked` holds the first lines of all requests.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.forbidden: tuple[bytes, ...] = ()
        self.refusal = REFUSAL
        self.asked: list[bytes] = []

    async def _ask(self, data: bytes, client: Stream, server: Stream) -> bool:
        line = data.partition(b"\r\n")[0]
        if line.endswith(b"HTTP/1.1"):
            self.asked.append(line)
            if any(part in line for part in self.forbidden):
                client[1].write(self.refusal)
                await client[1].drain()
                return True
        return await super()._ask(data, client, server)
