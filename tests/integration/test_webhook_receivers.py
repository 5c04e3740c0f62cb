"""Untrusted receivers of webhooks. Each receiver is a real server on this machine."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp.client_proto import ResponseHandler

from shared.webhooks.destinations import is_allowed
from shared.webhooks.vault import Vault
from tests.support.untrusted import (
    Names,
    Server,
    accept_all,
    delivery,
    read_request,
    running,
    self_signed,
    send,
    settings_for,
)
from worker.webhooks.sending import Reply, open_sender


async def test_row93_http_is_refused_when_sending_unless_the_setting_allows_it() -> None:
    server = Server()
    async with running(accept_all, server) as port:
        url = f"http://127.0.0.1:{port}/"
        assert await send(url, allow_http=False) == [Reply(fault="address_refused")]
        assert server.connections == 0
        assert await send(url, allow_http=True) == [Reply(status=204)]


async def test_row95_of_an_answer_of_ten_gigabytes_little_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, ended, taken = Server(), asyncio.Event(), 0
    receive = ResponseHandler.data_received

    def count(self: ResponseHandler, data: bytes) -> None:
        nonlocal taken
        taken += len(data)
        receive(self, data)

    monkeypatch.setattr(ResponseHandler, "data_received", count)

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                server.written += 65536
        finally:
            ended.set()

    async with running(flood, server) as port:
        (reply,) = await send(f"http://127.0.0.1:{port}/")
        await asyncio.wait_for(ended.wait(), 10)
    assert reply == Reply(status=200)
    # The sender stops after 4 KiB. But one read may return more: all bytes that the kernel has
    # buffered for the connection.
    assert 4096 < taken < 32 * 1024
    # `written` also counts bytes that are in the kernel's buffers and that the sender never reads.
    assert server.written < 64 * 1024 * 1024


async def test_row95_an_endless_head_is_refused() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x: y\r\n" * 1000)
            await writer.drain()

    async with running(flood, Server()) as port:
        (reply,) = await send(f"http://127.0.0.1:{port}/")
    assert reply.fault == "broken_answer"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nx: ", b""], ids=["head", "nothing"])
async def test_row96_an_answer_that_trickles_is_a_timeout(head: bytes) -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head)
        while True:
            writer.write(b"x" * bool(head))
            await writer.drain()
            await asyncio.sleep(0.05)

    async with running(trickle, Server()) as port:
        (reply,) = await send(f"http://127.0.0.1:{port}/", timeout_s=1)
    assert reply == Reply(fault="timeout")


async def test_row96_a_body_that_trickles_does_not_undo_the_status() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 Fine\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with running(trickle, Server()) as port:
        (reply,) = await send(f"http://127.0.0.1:{port}/")
    assert reply == Reply(status=200)


async def test_row96_a_status_counts_that_comes_just_before_the_timeout() -> None:
    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        # The head of the answer comes before the timeout of 2 s, the body long after the timeout.
        # The sender waits at most one second for the body.
        await asyncio.sleep(1.2)
        writer.write(b"HTTP/1.1 200 Fine\r\nContent-Length: 100\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(60)

    async with running(answer_late, Server()) as port:
        (reply,) = await send(f"http://127.0.0.1:{port}/", timeout_s=2)
    assert reply == Reply(status=200)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_row97_a_redirect_is_not_followed(status: int) -> None:
    inside, outside = Server(), Server()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 204 Fine\r\n\r\n")
        await writer.drain()

    async with running(accept, inside) as hidden:

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            # Status 307 redirects to a server of this test, which must get no connection. No server
            # listens at the other address.
            place = f"http://127.0.0.1:{hidden}/" if status == 307 else "http://169.254.169.254/"
            head = f"HTTP/1.1 {status} Away\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()

        async with running(redirect, outside) as port:
            (reply,) = await send(f"http://127.0.0.1:{port}/")
    assert reply == Reply(status=status, fault="redirect")
    assert (outside.connections, inside.connections) == (1, 0)


async def test_row98_a_name_that_leads_elsewhere_the_second_time_is_checked_again() -> None:
    server = Server()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async with running(accept, server) as port:
        names = Names("127.0.0.2", "127.0.0.1")
        url = f"http://rebinding.example:{port}/"
        listening_only_at_the_second = await send(url, url, names=names, networks="127.0.0.2")
        assert [each.fault for each in listening_only_at_the_second] == [
            "unreachable",
            "address_refused",
        ]
        assert (names.asked, server.connections) == (2, 0)
        once = Names("127.0.0.1", "10.0.0.1")
        assert [each.fault for each in await send(url, url, names=once)] == [
            None,
            "address_refused",
        ]
    assert server.connections == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "http://[::ffff:127.0.0.1]:{}/"])
async def test_row98_an_address_in_the_url_is_checked_when_it_is_connected_to(url: str) -> None:
    server = Server()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with running(accept, server) as port:
        (reply,) = await send(url.format(port), networks="")
    assert (reply.fault, server.connections) == ("address_refused", 0)


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.251",
        "240.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "::a00:1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "ff05::2",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2001:0:a00:1::1",
        "2002:a00:1::1",
        "2001:db8::1",
        "not an address",
    ],
)
def test_row98_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "93.184.216.34"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address, ())


async def test_row99_a_certificate_of_no_authority_is_refused(tmp_path: Path) -> None:
    context = self_signed(tmp_path, "receiver.example")
    async with running(accept_all, Server(), context) as port:
        (reply,) = await send(f"https://receiver.example:{port}/", names=Names("127.0.0.1"))
    assert reply == Reply(fault="certificate")


async def test_row99_the_name_of_the_receiver_is_in_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = self_signed(tmp_path, "receiver.example")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
    # Let the sender trust only this test's certificate. `_SSL_CONTEXT_VERIFIED` is private in
    # aiohttp, which has no public name for it.
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    async with running(accept_all, Server(), context) as port:
        names = Names("127.0.0.1")
        (good,) = await send(f"https://receiver.example:{port}/", names=names)
        (bad,) = await send(f"https://another.example:{port}/", names=names)
    assert good == Reply(status=204)
    assert bad == Reply(fault="certificate")


async def test_a_name_that_does_not_resolve_and_a_closed_port_are_told_apart() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    replies = await send(f"http://127.0.0.1:{port}/", "http://no-such-name.invalid/")
    assert [each.fault for each in replies] == ["unreachable", "unresolved"]


async def test_a_secret_of_another_key_is_not_used_and_not_shown() -> None:
    async with open_sender(settings_for(), Vault("another-key-of-secrets")) as sender:
        assert await sender.send(delivery("http://127.0.0.1:1/")) == Reply(
            fault="secret_unreadable"
        )
