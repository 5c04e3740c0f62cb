"""The budget of bytes for files that wait for a decoder: its size, each organization's share of it,
and the order of the files.
"""

import asyncio
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.budget import Budget

A, B, C = 1, 2, 3


class Files:
    """Simulated files, which use a budget of bytes.

    A file is fetched when the budget has enough free bytes. It holds its bytes until `release`.
    """

    def __init__(self, total: int) -> None:
        self.budget = Budget(total)
        self.fetched: list[str] = []
        self.waited: list[str] = []
        self._over: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, organization: int, size: int) -> None:
        """Start to fetch a file of `size` bytes.

        The call returns when the file waits for free bytes or holds its bytes.
        """
        self._over[name] = asyncio.Event()

        async def waits() -> None:
            self.waited.append(name)

        async def fetch() -> None:
            async with self.budget.hold(organization, size, before_wait=waits):
                self.fetched.append(name)
                await self._over[name].wait()

        self._tasks[name] = asyncio.create_task(fetch())
        await settle()

    async def release(self, *names: str) -> None:
        """Finish the files with these names in this order; each file returns its bytes to the
        budget.
        """
        for name in names:
            self._over[name].set()
            async with asyncio.timeout(5):
                await self._tasks[name]
            await settle()

    async def cancel(self, *names: str) -> None:
        """Cancel the files with these names at the same time, whether they wait or hold bytes."""
        for name in names:
            self._tasks[name].cancel()
        await asyncio.gather(*(self._tasks[name] for name in names), return_exceptions=True)
        await settle()


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_organization_holds_all_but_the_share_kept_for_others() -> None:
    files = Files(80)
    for number in range(8):
        await files.come(f"a{number}", A, 10)
    assert files.fetched == [f"a{number}" for number in range(7)]
    assert files.waited == ["a7"]
    await files.come("b", B, 10)
    assert files.fetched[7:] == ["b"]
    await files.release("a0")
    assert files.fetched[8:] == ["a7"]


async def test_a_file_larger_than_the_budget_passes_and_only_one_at_a_time() -> None:
    files = Files(80)
    await files.come("a", A, 1000)
    await files.come("b", B, 1000)
    await files.come("a2", A, 1000)
    assert files.fetched == ["a"]
    await files.release("a")
    assert files.fetched == ["a", "b"]
    await files.release("b")
    assert files.fetched == ["a", "b", "a2"]


async def test_organizations_have_turns() -> None:
    files = Files(80)
    await files.come("a0", A, 70)
    for name in ("a1", "a2", "b1", "b2", "c1"):
        await files.come(name, {"a": A, "b": B, "c": C}[name[0]], 60)
    await files.release("a0", "a1", "b1", "c1", "a2", "b2")
    assert files.fetched == ["a0", "a1", "b1", "c1", "a2", "b2"]


async def test_a_small_file_passes_the_large_one_of_another_that_has_no_room() -> None:
    files = Files(80)
    await files.come("a", A, 60)
    await files.come("b", B, 60)
    await files.come("c", C, 10)
    assert files.fetched == ["a", "c"]


async def test_small_files_that_keep_coming_do_not_keep_a_large_one_out() -> None:
    files = Files(80)
    for number in range(7):
        await files.come(f"c{number}", C, 10)
    await files.come("a", A, 70)
    for number in range(7, 12):
        await files.come(f"c{number}", C, 10)
    assert "a" not in files.fetched
    await files.release(*(f"c{number}" for number in range(7)))
    assert "a" in files.fetched
    assert len(files.fetched) < 10  # some of the small files still wait


async def test_a_cancelled_download_keeps_no_room() -> None:
    files = Files(80)
    await files.come("held", A, 70)
    await files.come("waiting", A, 70)
    await files.come("last", A, 70)
    await files.cancel("waiting")
    assert files.fetched == ["held"]
    await files.cancel("held")
    assert files.fetched == ["held", "last"]
    await files.release("last")
    await files.come("more", B, 70)
    assert files.fetched == ["held", "last", "more"]


async def test_one_that_is_cancelled_as_it_gets_its_room_gives_it_back() -> None:
    files = Files(80)
    await files.come("held", A, 70)
    await files.come("next", A, 70)
    await files.cancel("held", "next")
    await files.come("more", A, 70)
    assert files.fetched == ["held", "more"]


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 120)), max_size=30), st.randoms())
def test_every_file_is_fetched_in_the_end_within_the_budget(
    wanted: list[tuple[int, int]], chance: Random
) -> None:
    async def run() -> None:
        budget, held, most = Budget(80), 0, 0

        async def fetch(organization: int, size: int) -> None:
            nonlocal held, most
            async with budget.hold(organization, size, before_wait=lambda: asyncio.sleep(0)):
                held += min(size, 70)
                most = max(most, held)
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                held -= min(size, 70)

        async with asyncio.timeout(10):
            await asyncio.gather(*(fetch(*each) for each in wanted))
        assert most <= 80

    asyncio.run(run())
