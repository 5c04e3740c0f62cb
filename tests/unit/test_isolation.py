"""A decoder serves only one organization at a time."""

import asyncio
import os
import sys

import pytest

from shared.errors import Undecodable
from tests.data import pdfs
from tests.support.decoders import find_decoders, has_begun
from tests.support.forking import decode_for, running
from tests.support.service import until
from worker.decoding import pool as pool_module
from worker.decoding.formats import Box
from worker.decoding.pool import SPARES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="decoders are forked on Linux only"),
    pytest.mark.usefixtures("ended_decoders"),
]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("organizations", [2, 5])
async def test_no_decoder_is_given_files_of_two_organizations(
    served: dict[int, list[int]], size: int, organizations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KEPT", 1)
    async with running(size) as decoders:
        work = [decode_for(decoders, 1 + number % organizations) for number in range(60)]
        work += [decode_for(decoders, 1, b"no image") for _ in range(5)]
        work += [
            decode_for(decoders, number, pdfs.plain(), Box.DOCUMENTS) for number in (1, 2, 2, 1)
        ]
        done = await asyncio.gather(*work, return_exceptions=True)
        assert {type(each) for each in done if isinstance(each, BaseException)} == {Undecodable}
        assert len(find_decoders(os.getpid())) <= 2 * (size + 1 + SPARES)
    assert sum(map(len, served.values())) == len(work)
    assert all(len(set(whose)) == 1 for whose in served.values())


async def test_organizations_that_wait_share_a_place_in_slices(
    served: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KEPT", 0)
    async with running() as decoders:
        await asyncio.gather(*(decode_for(decoders, 1 + number // 16) for number in range(32)))
    # A slice is a run of jobs of one organization in one decoder. Each of the two organizations
    # needs at least two slices.
    assert len(served) >= 4
    assert all(len(whose) <= 8 for whose in served.values())


async def test_one_organization_alone_keeps_its_decoders(served: dict[int, list[int]]) -> None:
    async with running(2) as decoders:
        for _ in range(3):
            await asyncio.gather(*(decode_for(decoders, 7) for _ in range(20)))
    assert len(served) == 2


async def test_without_isolation_all_share_the_same_decoders(
    served: dict[int, list[int]],
) -> None:
    async with running(1, isolated=False) as decoders:
        await asyncio.gather(*(decode_for(decoders, 1 + number % 3) for number in range(30)))
    assert len(served) == 1


async def test_an_idle_decoder_is_ended_when_another_organization_needs_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "KEPT", 0)
    async with running() as decoders:
        await decode_for(decoders, 1)
        (first,) = (child for child in find_decoders(os.getpid()) if has_begun(child))
        await decode_for(decoders, 2)
        await until(lambda: asyncio.sleep(0, not first.is_running()))
        await until(lambda: asyncio.sleep(0, len(find_decoders(os.getpid())) == 2))


async def test_idle_decoders_of_some_organizations_are_kept_for_their_next_files(
    served: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder for another organization replaces the decoder that has been idle longest.

    When decoders have been idle for KEPT_S, all but one of them are ended.
    """
    monkeypatch.setattr(pool_module, "KEPT", 2)
    async with running() as decoders:
        for organization in (1, 2, 3, 1, 2, 3, 4, 2, 3, 4):
            await decode_for(decoders, organization)
        assert sorted(served.values()) == [[1, 1], [2, 2, 2], [3, 3, 3], [4, 4]]
        assert len(find_decoders(os.getpid())) <= 1 + 2 + SPARES
        monkeypatch.setattr(pool_module, "KEPT_S", 0.0)
        await until(lambda: asyncio.sleep(0, len(find_decoders(os.getpid())) == 1 + 1))
        await decode_for(decoders, 4)
    assert len(served) == 4
