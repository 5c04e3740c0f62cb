"""The header Idempotency-Key. If a client repeats a POST with the same key, nothing is made twice.

Source: IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key).
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, TypeVar

from aiohttp import web

from api.problems import Problem, general
from shared import idempotency
from shared.database import Connection, Database
from shared.idempotency import KeyInUse, KeyReused, Repeated, RequestKey

T = TypeVar("T")

HEADER = "Idempotency-Key"
MAX_CHARACTERS = 255

# A string of RFC 8941, section 3.3.3: printable ASCII in quotes, with \" and \\ inside.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"', re.ASCII)
_PLAIN = re.compile(r"[!#-~][ -~]*", re.ASCII)
_ESCAPED = re.compile(r'\\(["\\])')

RULE = f"The header '{HEADER}' must be one string of 1 to {MAX_CHARACTERS} printable characters"


class GivenKey:
    """The Idempotency-Key of one request. `note` adds a fingerprint of the request."""

    def __init__(self, request: web.Request, organization_id: int, digest: bytes) -> None:
        self._request = f"{request.method} {request.path.rstrip('/')}\n"
        self._organization_id = organization_id
        self._digest = digest
        self._fingerprint = b""

    def note(self, document: Any) -> None:
        """Compute the fingerprint of the request. `document` is its decoded body."""
        # Two bodies are the same if their values are equal. The order of members does not matter.
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        self._fingerprint = sha256(f"{self._request}{text}".encode()).digest()

    def noting(self, check: Callable[[Any], T]) -> Callable[[Any], T]:
        """Return a function that computes the fingerprint (`note`), then calls `check`."""

        def noted(document: Any) -> T:
            self.note(document)
            return check(document)

        return noted

    @property
    def known(self) -> RequestKey:
        """The Idempotency-Key with its fingerprint. `note` must have been called before."""
        assert self._fingerprint
        return RequestKey(
            organization_id=self._organization_id,
            digest=self._digest,
            fingerprint=self._fingerprint,
        )


class RequestKeys:
    """The Idempotency-Keys of the requests that this process is answering now."""

    def __init__(self) -> None:
        self._held: set[tuple[int, bytes]] = set()

    @contextmanager
    def hold(self, request: web.Request, organization_id: int) -> Iterator[GivenKey | None]:
        """Reserve the key of a request during the block. Yields None if the request has no key.

        Raises Problem: 400 for an invalid key, 409 if this or another process is still answering a
        request with the key, 422 if the key was used for a different request.
        """
        if HEADER not in request.headers:
            yield None
            return
        digest = sha256(read_key(request).encode()).digest()
        held = (organization_id, digest)
        if held in self._held:
            raise _problem(409, "A request with this Idempotency-Key is still being answered")
        self._held.add(held)
        try:
            yield GivenKey(request, organization_id, digest)
        except KeyInUse:
            raise _problem(
                409, "A request with this Idempotency-Key is still being answered"
            ) from None
        except KeyReused:
            raise _reused() from None
        finally:
            self._held.discard(held)


async def run_once(
    database: Database,
    key: GivenKey | None,
    make: Callable[[Connection], Awaitable[T]],
    ids_of: Callable[[T], list[int] | None],
) -> T | Repeated:
    """Run `make` on a connection. With a key, run it only once for that key.

    See `idempotency.once`. If `make` was run before, returns Repeated.
    """
    if key is None:
        return await database.run(make)

    async def once(connection: Connection) -> T | Repeated:
        return await idempotency.once(connection, key.known, make, ids_of)

    return await database.run(once)


def read_key(request: web.Request) -> str:
    """Return the key of a request without its quotes. Raises Problem 400 if it is invalid."""
    given = request.headers.getall(HEADER)
    text = given[0].strip(" \t")  # `strip()` would also remove blanks that are not ASCII
    if (quoted := _QUOTED.fullmatch(text)) is not None:
        text = _ESCAPED.sub(r"\1", quoted[1])
    elif not _PLAIN.fullmatch(text):
        raise _problem(400, RULE)
    if len(given) > 1 or not 1 <= len(text) <= MAX_CHARACTERS:
        raise _problem(400, RULE)
    return text


def _problem(status: int, detail: str) -> Problem:
    problem = general(status, detail)
    problem.errors[0]["source"] = {"header": HEADER}
    return problem


def _reused() -> Problem:
    return Problem(
        422,
        [
            {
                "status": "422",
                "code": "idempotency_key_reused",
                "title": "Idempotency Key Reused",
                "detail": "The Idempotency-Key was used for another request",
                "source": {"header": HEADER},
            }
        ],
    )
