"""The client of `attachments upload`, with a server that can send wrong answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import BodyPartReader, web
from aiohttp.test_utils import TestServer

from deploy.client.upload import ApiUnusable, Progress, Uploaded, upload_files
from deploy.client.wire import MEDIA_TYPE
from deploy.embedded.ports import choose_port
from shared.states import State

TOKEN = "the-token-of-the-client"
POLICY = {
    "key": "attachments/files/000/000/001/original/a.txt",
    "policy": "e30=",
    "x-amz-date": "x",
}


@dataclass(slots=True)
class Scripted:
    """A fake server for the API and the store. It sends answers of the test, then correct ones."""

    server: TestServer
    access: int = 404
    creations: list[web.Response] = field(default_factory=list)
    posts: list[web.Response] = field(default_factory=list)
    states: list[State | Literal["hang"]] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    forms: list[tuple[int | None, list[tuple[str, bytes]]]] = field(default_factory=list)
    store_headers: list[set[str]] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def resource(self, number: str, state: State) -> dict[str, Any]:
        reason = {"code": "broken", "detail": "It is damaged."} if state == "rejected" else None
        attributes: dict[str, Any] = dict.fromkeys(("content_type", "size", "thumb"))
        return {
            "id": number,
            "type": "attachments",
            "attributes": {"url": f"{self.url}/file", "aws_policy": POLICY, **attributes},
            "meta": {"state": state, "reason": reason, "width": None, "height": None},
        }

    async def show(self, request: web.Request) -> web.Response:
        assert request.headers["X-Auth-Token"] == TOKEN
        if request.match_info["id"] == "0":
            return problem(self.access)
        state = self.states.pop(0) if self.states else "ready"
        if state == "hang":
            await asyncio.Event().wait()
            raise AssertionError("the event is never set")
        return answer({"data": self.resource(request.match_info["id"], state), "meta": {}})

    async def create(self, request: web.Request) -> web.Response:
        assert request.headers["Content-Type"] == MEDIA_TYPE
        self.created.append((await request.json())["data"]["attributes"])
        if self.creations:
            return self.creations.pop(0)
        data = self.resource(str(len(self.created)), "pending")
        return answer({"data": data, "meta": {"upload_url": f"{self.url}/bucket"}}, 201)

    async def store(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.store_headers.append(set(request.headers))
        reader = await request.multipart()
        parts = []
        while isinstance(part := await reader.next(), BodyPartReader):
            parts.append((part.name or "", bytes(await part.read())))
        self.forms.append((request.content_length, parts))
        self.at_once -= 1
        return self.posts.pop(0) if self.posts else web.Response(status=201)


def answer(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(document, status=status, content_type=MEDIA_TYPE)


def problem(status: int, detail: str = "It is so", **headers: str) -> web.Response:
    response = answer({"errors": [{"status": str(status), "detail": detail}]}, status)
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    app = web.Application()
    server = TestServer(app)
    found = Scripted(server)
    app.router.add_get("/api/v2/attachments/{id}", found.show)
    app.router.add_post("/api/v2/attachments", found.create)
    app.router.add_post("/bucket", found.store)
    async with server:
        yield found


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, content: bytes = b"text") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


Write = Callable[..., Path]


async def send(scripted: Scripted, *paths: Path, **options: Any) -> list[Uploaded]:
    return await upload_files(scripted.url, TOKEN, 1, paths, **options)


async def test_posts_every_field_of_the_policy_and_the_file_last_with_its_true_length(
    scripted: Scripted, write: Write
) -> None:
    content = bytes(range(256)) * 4096  # the client sends it in four chunks
    steps: list[Progress] = []
    [done] = await send(scripted, write("ä.bin", content), on_progress=steps.append)
    assert scripted.created == [{"name": "ä.bin", "size": len(content)}]
    [(length, parts)] = scripted.forms
    assert length is not None
    assert length > len(content)
    assert parts == [*((name, text.encode()) for name, text in POLICY.items()), ("file", content)]
    assert done.succeeded
    assert (done.id, done.state) == ("1", "ready")
    assert done.processing_seconds is not None
    assert 0 < done.processing_seconds < done.seconds
    sent = [step.sent for step in steps if step.sending]
    assert sent == sorted(sent)
    assert sent[-1] == len(content)
    assert steps[-1].finished


async def test_the_store_gets_no_token(scripted: Scripted, write: Write) -> None:
    await send(scripted, write("a.txt"))
    assert not scripted.store_headers[0] & {"X-Auth-Token", "X-Organization-Id", "Authorization"}


async def test_an_empty_file_is_uploaded(scripted: Scripted, write: Write) -> None:
    [done] = await send(scripted, write("empty", b""))
    assert done.succeeded
    assert scripted.forms[0][1][-1] == ("file", b"")


@pytest.mark.parametrize(
    ("status", "words"), [(401, "wrong, revoked or expired"), (403, "another organization")]
)
async def test_a_token_that_is_not_let_in_ends_all_before_anything_is_sent(
    status: int, words: str, scripted: Scripted, write: Write
) -> None:
    scripted.access = status
    with pytest.raises(ApiUnusable, match=words):
        await send(scripted, write("a.txt"))
    assert scripted.created == []


async def test_another_kind_of_server_is_distinguished_from_an_attachments_api(
    scripted: Scripted, write: Write
) -> None:
    with pytest.raises(ApiUnusable, match="is not an attachments API"):
        await upload_files(f"{scripted.url}/elsewhere", TOKEN, 1, [write("a.txt")])


@pytest.mark.slow
async def test_429_and_503_of_the_api_are_tried_again(scripted: Scripted, write: Write) -> None:
    scripted.creations = [problem(429, Retry_After="0"), problem(503)]
    [done] = await send(scripted, write("a.txt"))
    assert done.succeeded
    assert len(scripted.created) == 3


async def test_503_of_the_store_is_tried_again_with_the_whole_file(
    scripted: Scripted, write: Write
) -> None:
    scripted.posts = [web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>")]
    [done] = await send(scripted, write("a.txt", b"content"))
    assert done.succeeded
    assert [parts[-1] for _, parts in scripted.forms] == [("file", b"content")] * 2


async def test_one_failure_of_each_kind_stops_no_other_file(
    scripted: Scripted, write: Write, tmp_path: Path
) -> None:
    scripted.creations = [problem(422, "must be less than or equal to 5")]
    scripted.posts = [web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")]
    scripted.states = ["processing", "rejected"]
    files = [write("large"), tmp_path / "gone", write("refused"), write("broken"), write("good")]
    large, gone, refused, broken, good = await send(scripted, *files, parallel=1)
    assert [item.file for item in (large, gone, refused, broken, good)] == files
    assert large.reason == {
        "code": "api_refused",
        "detail": "The API answered 422: must be less than or equal to 5.",
    }
    assert gone.reason is not None
    assert gone.reason["code"] == "unreadable_file"
    assert refused.reason == {
        "code": "store_refused",
        "detail": "The store answered 403 AccessDenied.",
    }
    assert {broken.state, good.state} == {"rejected", "ready"}
    assert [item.succeeded for item in (large, gone, refused)] == [False] * 3
    assert sorted((broken.succeeded, good.succeeded)) == [False, True]


async def test_without_waiting_the_state_is_the_one_at_creation(
    scripted: Scripted, write: Write
) -> None:
    [done] = await send(scripted, write("a.txt"), wait=False)
    assert done.succeeded
    assert done.state == "pending"
    assert done.processing_seconds is None


async def test_waiting_has_an_end(scripted: Scripted, write: Write) -> None:
    scripted.states = ["processing"] * 99
    [done] = await send(scripted, write("a.txt"), timeout_s=0.1)
    assert not done.succeeded
    assert done.reason == {"code": "timeout", "detail": "It was still processing after 0.1 s."}


async def test_an_api_that_no_longer_answers_does_not_prolong_the_wait(
    scripted: Scripted, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.client.upload.LAST_ANSWER_S", 0.2)
    scripted.states = ["hang"]
    [done] = await send(scripted, write("a.txt"), timeout_s=0.1)
    assert done.reason == {"code": "timeout", "detail": "It was still pending after 0.1 s."}


@pytest.mark.slow
async def test_500_files_are_uploaded_eight_at_a_time(scripted: Scripted, write: Write) -> None:
    files = [write(f"{number}.txt") for number in range(500)]
    done = await send(scripted, *files)
    assert all(item.succeeded for item in done)
    assert len({item.id for item in done}) == 500
    assert 1 < scripted.most_at_once <= 8


async def test_a_store_that_cannot_be_reached_is_named_without_its_policy(
    scripted: Scripted, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.client.wire.TRIES", 1)
    nowhere = f"http://127.0.0.1:{choose_port()}"
    data = scripted.resource("1", "pending")
    meta = {"upload_url": f"{nowhere}/bucket?X-Amz-Signature=secret"}
    scripted.creations = [answer({"data": data, "meta": meta}, 201)]
    [done] = await send(scripted, write("a.txt"))
    assert done.reason == {
        "code": "store_unreachable",
        "detail": f"The store could not be reached at {nowhere}: connection refused.",
    }
