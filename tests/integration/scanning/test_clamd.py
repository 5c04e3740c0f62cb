"""The client of clamd, with a real clamd."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from deploy.doctor.eicar import EICAR, large, nested
from shared.errors import ScannerUnavailable, StoreUnavailable
from shared.scan_settings import parse_clamd_url
from shared.verdicts import Scan
from tests.support.clamd import (
    EICAR_NAME,
    MARKER,
    MARKER_NAME,
    ClamdProcess,
    need_clamd,
    running_clamd,
)
from tests.support.faults import closed_port
from tests.support.proxy import running_proxy
from worker.scanning.clamd import CHUNK_BYTES, Clamd

need_clamd()

CLEAN = Scan(verdict="clean")


def client_of(url: str, *, timeout_s: float = 30) -> Clamd:
    """Make a client for a clamd at this address."""
    return Clamd(parse_clamd_url(url), timeout_s=timeout_s)


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    """Yield pieces of bytes, as a read from the store does."""
    for each in content:
        yield each


@pytest.mark.parametrize("way", ["tcp", "unix", "name"])
async def test_clamd_scans_over_tcp_and_over_a_unix_socket(clamd: ClamdProcess, way: str) -> None:
    url = {
        "tcp": clamd.url,
        "unix": clamd.socket_url,
        "name": clamd.url.replace("127.0.0.1", "localhost"),
    }[way]
    client = client_of(url)

    await client.ping()
    assert await client.scan(pieces(EICAR)) == Scan(verdict="infected", signature=EICAR_NAME)
    assert await client.scan(pieces(b"a ", b"harmless text")) == CLEAN
    assert await client.scan(pieces()) == CLEAN


@pytest.mark.parametrize("place", [0, 1, CHUNK_BYTES - 5, CHUNK_BYTES, 3 * CHUNK_BYTES - 25])
async def test_every_byte_of_a_stream_is_scanned_whatever_its_pieces_are(
    clamd: ClamdProcess, place: int
) -> None:
    content = bytearray(3 * CHUNK_BYTES)
    content[place : place + len(MARKER)] = MARKER
    whole, client = bytes(content), client_of(clamd.url)
    small = [whole[start : start + 50_001] for start in range(0, len(whole), 50_001)]

    for given in ([whole], small, [b"", *small, b""]):
        found = await client.scan(pieces(*given))
        assert found == Scan(verdict="infected", signature=MARKER_NAME)


async def test_a_stream_longer_than_clamd_takes_is_unscannable(tmp_path: Path) -> None:
    async with running_clamd(tmp_path, StreamMaxLength="1M") as clamd:
        for url in (clamd.url, clamd.socket_url):
            # The longest stream is still being sent when clamd answers and closes the connection.
            for size in (2**20 + 1, 2**22, 2**26):
                count = size // 2**16 + 1
                found = await client_of(url).scan(pieces(*[bytes(2**16)] * count))
                assert found == Scan(verdict="unscannable"), (url, size)


@pytest.mark.parametrize(
    ("alerts", "verdict"), [("no", CLEAN.verdict), ("yes", "unscannable")], ids=["silent", "alerts"]
)
async def test_clamd_calls_clean_what_exceeds_its_limits_unless_it_is_to_alert(
    tmp_path: Path, alerts: str, verdict: str
) -> None:
    limits = {"MaxFileSize": "1M", "MaxScanSize": "4M", "AlertExceedsMax": alerts}
    async with running_clamd(tmp_path, **limits) as clamd:
        client = client_of(clamd.url)

        assert (await client.scan(large(2**19))).signature == EICAR_NAME
        assert (await client.scan(large(2**21))).verdict == verdict
        assert (await client.scan(pieces(nested(5)))).signature == EICAR_NAME
        assert (await client.scan(pieces(nested(120)))).verdict == verdict


async def test_a_frozen_clamd_is_given_up(own_clamd: ClamdProcess) -> None:
    client = client_of(own_clamd.url, timeout_s=0.5)
    own_clamd.freeze()
    # The first stream fits into the kernel's buffers, so the client waits for the answer. The
    # second one fills the buffers, so the client waits until it can send more.
    with pytest.raises(ScannerUnavailable, match="did not answer in time"):
        await client.scan(pieces(EICAR))
    with pytest.raises(ScannerUnavailable, match="took no bytes in time"):
        await client.scan(pieces(*[bytes(2**20)] * 32))
    with pytest.raises(ScannerUnavailable, match="did not answer in time"):
        await client.ping()
    own_clamd.thaw()
    assert (await client_of(own_clamd.url).scan(pieces(EICAR))).verdict == "infected"


@pytest.mark.parametrize("kind", ["tcp", "unix", "name"])
async def test_a_clamd_that_is_not_there_is_unavailable(tmp_path: Path, kind: str) -> None:
    url = {
        "tcp": f"tcp://127.0.0.1:{closed_port()}",
        "unix": f"unix://{tmp_path}/none",
        "name": "tcp://clamd.invalid",
    }[kind]
    with pytest.raises(ScannerUnavailable, match="cannot be connected to"):
        await client_of(url).scan(pieces(EICAR))


async def test_a_connection_that_breaks_is_no_verdict(clamd: ClamdProcess) -> None:
    async with running_proxy(clamd.url) as proxy:
        client = client_of(proxy.url)
        assert (await client.scan(pieces(EICAR))).verdict == "infected"
        for fault in (proxy.cut, lambda: proxy.truncate(0), lambda: proxy.truncate(9)):
            fault()
            with pytest.raises(ScannerUnavailable):
                await client.scan(pieces(b"harmless"))
            proxy.let_go()


@pytest.mark.parametrize(
    "answer",
    [
        b"stream: Can't allocate memory ERROR\0",
        b"UNKNOWN COMMAND\0",
        b"OK\0",
        b"stream: OKAY\0",
        b"stream: OK",
        b"\0",
        b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\n\r\nstream: OK\r\n\0",
    ],
)
async def test_row112_an_answer_that_is_no_verdict_is_an_error(
    clamd: ClamdProcess, answer: bytes
) -> None:
    async with running_proxy(clamd.url) as proxy:
        proxy.answer(answer)
        with pytest.raises(ScannerUnavailable):
            await client_of(proxy.url, timeout_s=1).scan(pieces(b"harmless"))


async def test_a_store_that_fails_meanwhile_is_reported_as_such(clamd: ClamdProcess) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"the beginning"
        raise StoreUnavailable("the body ended")

    with pytest.raises(StoreUnavailable):
        await client_of(clamd.url).scan(broken())


async def test_scans_run_beside_one_another(clamd: ClamdProcess) -> None:
    client = client_of(clamd.url)
    contents: Iterable[bytes] = [EICAR if place % 3 else b"harmless" for place in range(30)]
    found = await asyncio.gather(*(client.scan(pieces(each)) for each in contents))
    expected = ["infected" if place % 3 else "clean" for place in range(30)]
    assert [each.verdict for each in found] == expected
