"""The clients of a soak test: they create, upload, overwrite and delete attachments.

If a server is unavailable, a client retries for a while. An upload is accepted when the store has
answered 201. If an upload gets no answer, the file may be in the store, or may reach it later.
"""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tests.soak.files import FILES, Expected
from tests.soak.plan import Upload, Version
from tests.soak.soak_site import Site
from tests.support.service import Answer, Client

PATIENCE_S = 60.0
"""The seconds for which a client retries. LONGEST_PAUSE_S limits the pause between two retries."""
LONGEST_PAUSE_S = 2.0
AWAY = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A file that a client has sent.

    `accepted_at` is the Unix time of the store's 201, or None without a 201.
    """

    code: int
    kind: str
    md5: str
    sha256: str
    size: int
    expected: Expected
    unsure: bool
    accepted_at: float | None


@dataclass(slots=True, kw_only=True)
class Entry:
    """What a client knows about an attachment.

    `deleted` is None if the answer to the DELETE was lost.
    """

    upload: Upload
    attachment_id: int
    sent: list[Sent] = field(default_factory=list)
    deleted: bool | None = False

    @property
    def possible(self) -> list[Sent]:
        """Return the versions of the file that may be in the store.

        These are the last accepted version, and every version whose upload got no clear answer.
        """
        last = max((n for n, sent in enumerate(self.sent) if sent.accepted_at), default=None)
        return [sent for n, sent in enumerate(self.sent) if sent.unsure or n == last]


@dataclass(kw_only=True)
class Ledger:
    """What all clients know about their attachments: about a kilobyte of memory for each one."""

    begun: int = 0
    entries: list[Entry] = field(default_factory=list)
    accepted: int = 0
    odd: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Clients:
    """Concurrent clients. Each of them carries out one planned upload after the other.

    The clients wait while `room` is not set, so that the workers' backlog stays limited.
    """

    def __init__(self, site: Site, ledger: Ledger, *, seed: int) -> None:
        self._site = site
        self._ledger = ledger
        self._random = Random(f"{seed}/clients")
        self.room = asyncio.Event()
        self.room.set()

    async def run(
        self, uploads: Iterator[Upload], over: asyncio.Event, *, side_by_side: int
    ) -> None:
        """Carry out the plan. After `over` is set, begin no upload, but finish the uploads that
        have begun.
        """

        async def caller() -> None:
            for upload in uploads:
                await self.room.wait()
                if over.is_set():
                    return
                self._ledger.begun += 1
                await self.attend(upload)

        await asyncio.gather(*(caller() for _ in range(side_by_side)))

    async def attend(self, upload: Upload) -> None:
        """Carry out the whole plan for one attachment."""
        created = await self._create(upload)
        if created is None:
            return
        entry = Entry(upload=upload, attachment_id=int(created["data"]["id"]))
        self._ledger.entries.append(entry)
        for place, version in enumerate(upload.versions):
            if upload.deleted_after == place:
                await self._delete(entry)
            await asyncio.sleep(version.after_s)
            entry.sent.append(await self._post(created, version, upload))
        if upload.deleted_after == len(upload.versions):
            await self._delete(entry)
        if upload.number % 5 == 0:
            await self._show(entry)

    async def _create(self, upload: Upload) -> Any:
        document = {"data": {"type": "attachments", "attributes": {"name": upload.name}}}
        answer = await self._call(upload, "POST", "/api/v2/attachments", document)
        if answer is None or answer.status != 201:
            self._note("create", answer, (201,))
            return None
        return answer.document

    async def _delete(self, entry: Entry) -> None:
        await asyncio.sleep(entry.upload.delete_pause_s)
        path = f"/api/v2/attachments/{entry.attachment_id}"
        answer = await self._call(entry.upload, "DELETE", path)
        # A client repeats a DELETE if its answer was lost. The second answer is then 404.
        entry.deleted = None if answer is None else answer.status in (204, 404)
        self._note("delete", answer, (204, 404))

    async def _show(self, entry: Entry) -> None:
        path = f"/api/v2/attachments/{entry.attachment_id}"
        answer = await self._call(entry.upload, "GET", path)
        self._note("show", answer, (404,) if entry.deleted else (200, 404))
        own, all_ = entry.upload.organization, len(self._site.clients)
        if all_ > 1:
            await self._show_to_another(entry, (own + 1) % all_)

    async def _show_to_another(self, entry: Entry, organization: int) -> None:
        path = f"/api/v2/attachments/{entry.attachment_id}"
        answer = await self._call(entry.upload, "GET", path, organization=organization)
        if answer is not None and answer.status == 404:
            self._ledger.counts["kept from another organization"] += 1
        elif answer is not None:
            self._ledger.foreign.append(f"attachment {entry.attachment_id}: {answer.status}")

    def _note(self, what: str, answer: Answer | None, usual: tuple[int, ...]) -> None:
        if answer is None:
            self._ledger.counts[f"{what}: no answer at all"] += 1
        elif answer.status not in usual:
            self._odd(f"{what} answered {answer.status}: {answer.body[:200]!r}")

    def _odd(self, words: str) -> None:
        self._ledger.counts["odd answers"] += 1
        if len(self._ledger.odd) < 100:
            self._ledger.odd.append(words)

    async def _call(
        self,
        upload: Upload,
        method: str,
        path: str,
        document: Any = None,
        *,
        organization: int | None = None,
    ) -> Answer | None:
        """Send a request to one API after the other until one answers.

        Return None if no API answers in time.

        The request is sent for the upload's organization, unless `organization` is given.
        """
        asking = upload.organization if organization is None else organization
        callers = self._site.clients[asking]
        for turn in self._tries():
            caller: Client = callers[(upload.number + turn) % len(callers)]
            try:
                answer = await caller.request(method, path, document)
            except (aiohttp.ClientError, TimeoutError, OSError):
                self._ledger.counts["API: no answer"] += 1
            else:
                if answer.status == 500:
                    self._odd(f"{method} answered 500: {answer.body[:200]!r}")
                if answer.status not in AWAY:
                    return answer
                self._ledger.counts[f"API: {answer.status}"] += 1
            await self._pause(turn)
        return None

    async def _post(self, created: Any, version: Version, upload: Upload) -> Sent:
        """Post a file with its policy, and repeat this until the store answers."""
        file = await asyncio.to_thread(FILES[version.kind], version.code)
        caller = self._site.clients[upload.organization][0]
        unsure, accepted_at = False, None
        for turn in self._tries():
            try:
                status, body = await caller.post_file(created, file.content)
            except (aiohttp.ClientError, TimeoutError, OSError):
                unsure = True
                self._ledger.counts["S3: no answer"] += 1
            else:
                if status == 201:
                    accepted_at = time.time()
                    self._ledger.accepted += 1
                    break
                self._ledger.counts[f"S3: {status}"] += 1
                if status not in AWAY:
                    if not (status == 403 and "expired" in body.lower()):
                        self._odd(f"S3 answered {status}: {body[:200]}")
                    break
                unsure = True
            await self._pause(turn)
        return Sent(
            code=version.code,
            kind=version.kind,
            size=len(file.content),
            expected=file.expected,
            md5=hashlib.md5(file.content, usedforsecurity=False).hexdigest(),
            sha256=hashlib.sha256(file.content).hexdigest(),
            unsure=unsure,
            accepted_at=accepted_at,
        )

    def _tries(self) -> Iterator[int]:
        deadline, turn = time.monotonic() + PATIENCE_S, 0
        while time.monotonic() < deadline:
            yield turn
            turn += 1

    async def _pause(self, turn: int) -> None:
        pause_s = min(0.1 * 2**turn, LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s * self._random.uniform(0.5, 1.5))
