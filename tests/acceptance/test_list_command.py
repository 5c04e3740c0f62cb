"""`attachments list`, `attachments count` and `attachments organizations list`."""

import json
from typing import Any

import pytest
from rich.cells import cell_len

from deploy.commands.attachments import table
from shared.reasons import REASONS
from shared.states import STATES
from tests.support.commands import command
from tests.support.service import Service
from tests.support.states import create, put

NO_SUCH = "424242"


async def listed(service: Service, *options: str) -> list[int]:
    """Run the command `list` with these options, and return the ids."""
    ended = await command(service, "list", "--json", *options)
    assert ended.status == 0, ended.err
    return [row["id"] for row in json.loads(ended.out)]


async def test_attachments_are_found_by_state_reason_and_organization(service: Service) -> None:
    other = await service.organization()
    theirs = int((await other.create())["data"]["id"])
    pending, failed, missing, kept, deleted = map(int, await create(service, 5))
    await put(service, str(failed), "failed", "internal_error")
    await put(service, str(missing), "failed", "missing")
    await put(service, str(kept), "ready", "encrypted")
    await put(service, str(deleted), "failed", "missing")
    await service.execute("UPDATE attachments SET deleted_at = now() WHERE id = $1", deleted)
    ours = ("--organization", str(service.client.organization_id))
    assert await listed(service) == [kept, missing, failed, pending, theirs]
    assert await listed(service, *ours) == [kept, missing, failed, pending]
    assert await listed(service, "--organization", str(other.organization_id)) == [theirs]
    assert await listed(service, "--state", "failed") == [missing, failed]
    assert await listed(service, "--state", "pending") == [pending, theirs]
    assert await listed(service, *ours, "--state", "pending") == [pending]
    assert await listed(service, "--reason", "encrypted") == [kept]
    assert await listed(service, "--reason", "missing", "--state", "failed") == [missing]
    assert await listed(service, "--reason", "missing", "--state", "ready") == []


async def test_a_list_goes_on_where_it_ended(service: Service) -> None:
    ids = list(map(int, await create(service, 5)))[::-1]
    first = await command(service, "list", "--limit", "2", "--json")
    assert [row["id"] for row in json.loads(first.out)] == ids[:2]
    assert first.err == f"there are more: --before {ids[1]} lists those that are older\n"
    last = await command(service, "list", "--limit", "3", "--before", str(ids[1]))
    assert last.err == ""
    assert [str(each) in last.out for each in ids] == [False, False, True, True, True]


async def test_more_are_listed_than_one_statement_gives(service: Service) -> None:
    (one,) = await create(service)
    await service.execute(
        """
        INSERT INTO attachments
        SELECT (jsonb_populate_record(a, jsonb_build_object('id', a.id + n))).*
        FROM attachments AS a, generate_series(1, 1500) AS n WHERE a.id = $1
        """,
        int(one),
    )
    found = await listed(service, "--limit", "1400")
    assert found == list(range(int(one) + 1500, int(one) + 100, -1))


async def test_no_address_and_no_signature_is_listed(service: Service) -> None:
    (one,) = await create(service)
    await service.execute(
        "UPDATE attachments SET temp_url = 'https://b.example/k?X-Amz-Signature=secret'"
        " WHERE id = $1",
        int(one),
    )
    for more in ((), ("--json",)):
        shown = (await command(service, "list", *more)).out
        assert one in shown
        assert "secret" not in shown
        assert "http" not in shown


@pytest.mark.parametrize(
    ("option", "words"), [("--state", list(STATES)), ("--reason", list(REASONS))]
)
async def test_an_unknown_word_is_refused_with_the_list(
    service: Service, option: str, words: list[str]
) -> None:
    for verb in ("list", "retry"):
        ended = await command(service, verb, option, "none-of-these")
        assert ended.status == 2
        assert ended.err.startswith(f"attachments: {option}: must be one of ")
        named = ended.err.partition("one of ")[2].strip().split(", ")
        if (verb, option) == ("retry", "--state"):
            assert named == ["failed", "rejected"]
        else:
            assert named == words


async def test_counts_are_by_state(service: Service) -> None:
    other = await service.organization()
    await other.create()
    ids = await create(service, 3)
    await put(service, ids[0], "failed", "missing")
    await put(service, ids[1], "ready")
    of_all = json.loads((await command(service, "count", "--json")).out)
    expected: dict[str, Any] = {**dict.fromkeys(STATES, 0), "pending": 2, "failed": 1, "ready": 1}
    assert of_all == {"states": expected, "estimated": []}
    ours = ("--organization", str(service.client.organization_id))
    of_one = json.loads((await command(service, "count", *ours, "--json")).out)
    assert of_one["states"] == {**expected, "pending": 1}
    table = await command(service, "count", *ours)
    assert all(state in table.out for state in STATES)


async def test_organizations_are_listed_with_their_counts(service: Service) -> None:
    other = await service.organization("Acme")
    ids = await create(service, 2)
    await put(service, ids[0], "failed", "missing")
    ended = await command(service, "organizations", "list", "--json")
    first, second = json.loads(ended.out)
    assert (first["id"], first["name"]) == (service.client.organization_id, "tests")
    assert first["states"] == {**dict.fromkeys(STATES, 0), "pending": 1, "failed": 1}
    assert (second["id"], second["name"]) == (other.organization_id, "Acme")
    assert set(second["states"].values()) == {0}
    part = await command(service, "organizations", "list", "--limit", "1")
    assert "tests" in part.out
    assert "Acme" not in part.out
    assert part.err == f"there are more: --after {first['id']} lists those with higher ids\n"
    rest = await command(service, "organizations", "list", "--after", str(first["id"]))
    assert "Acme" in rest.out
    assert rest.err == ""


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["count"], ["retry", "--failed"], ["tokens", "list"], ["tokens", "create"]],
    ids=" ".join,
)
async def test_an_unknown_organization_is_reported(service: Service, arguments: list[str]) -> None:
    ended = await command(service, *arguments, "--organization", NO_SUCH)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"attachments: --organization: there is no organization {NO_SUCH}\n"


async def test_a_name_that_is_taken_needs_force(service: Service) -> None:
    first = await command(service, "organizations", "create", "  Acme ")
    number = first.out.strip()
    again = await command(service, "organizations", "create", "Acme")
    assert (again.status, again.out) == (1, "")
    assert again.err == (
        f"attachments: there is an organization of that name, {number}:"
        " --force creates another one\n"
    )
    forced = await command(service, "organizations", "create", "Acme", "--force")
    assert forced.status == 0
    assert int(forced.out) > int(number)
    names = await service.database.fetch("SELECT name FROM organizations ORDER BY id")
    assert [row["name"] for row in names] == ["tests", "Acme", "Acme"]


async def test_a_token_is_made_with_the_id_by_which_it_is_revoked(service: Service) -> None:
    ours = ("--organization", str(service.client.organization_id))
    made = await command(service, "tokens", "create", *ours, "--json")
    token = json.loads(made.out)
    assert len(token["token"]) == 64
    assert f"`attachments tokens revoke {token['id']}`" in made.err
    assert token["rate_limit"] is None
    plain = await command(service, "tokens", "create", *ours, "--limit", "7")
    listed = json.loads((await command(service, "tokens", "list", *ours, "--json")).out)
    assert [each["rate_limit"] for each in listed] == [None, None, 7]
    number = plain.err.partition("This is token ")[2].partition(",")[0]
    for each in (str(token["id"]), number):
        revoked = await command(service, "tokens", "revoke", each)
        assert (revoked.status, revoked.out) == (0, f"{each}: is revoked\n")


@pytest.mark.parametrize("width", [80, 160])
async def test_on_a_terminal_an_attachment_is_one_line(service: Service, width: int) -> None:
    ids = await create(service, 2)
    await put(service, ids[0], "failed", "store_unavailable")
    await service.execute("UPDATE attachments SET name = $1", f"{'写真' * 60}.jpg")
    rows = [await service.row(each) for each in ids]
    head, failed, pending = table(rows, width)
    assert head.split()[:4] == ["id", "org.", "state", "reason"]
    assert failed.split()[2:4] == ["failed", "store_unavailable"]
    assert pending.split()[2:4] == ["pending", "-"]
    assert all(cell_len(line) <= width for line in (head, failed, pending))
    assert failed.endswith(".jpg")
    assert (rows[0].created_at.isoformat(" ", "seconds") in failed) is (width == 160)
