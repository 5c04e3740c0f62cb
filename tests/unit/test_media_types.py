"""The media types in Content-Type and Accept are checked by the rules of JSON:API."""

import pytest

from api.negotiation import check_accept, check_content_type
from api.problems import MEDIA_TYPE, Problem
from tests.support.bodies import make_request, status_of

BULK = f"{MEDIA_TYPE}; ext=bulk"


@pytest.mark.parametrize(
    ("content_type", "bulk"),
    [
        (MEDIA_TYPE, False),
        (MEDIA_TYPE.upper(), False),
        (f"  {MEDIA_TYPE} ", False),
        (f"{MEDIA_TYPE};", False),
        (f'{MEDIA_TYPE}; profile="https://a/b"', False),
        (BULK, True),
        (f'{MEDIA_TYPE};ext="bulk"', True),
        (f"{MEDIA_TYPE}; EXT=bulk", True),
        (f"{MEDIA_TYPE}; ext=bulk; profile=x", True),
        (f"{MEDIA_TYPE}; charset=utf-8", False),
        (f'{MEDIA_TYPE};CHARSET="UTF-8"', False),
        (f"{BULK}; charset=utf-8", True),
        (f"{MEDIA_TYPE}; charset=UTF-8; ext=bulk", True),
        (f'{MEDIA_TYPE}; profile="https://a/b;c https://d/e,f"', False),
        (f'{MEDIA_TYPE}; profile="a\\"; ext=other"; ext="bu\\lk"', True),
        (f'{MEDIA_TYPE}; ext=""', False),
        (f'{MEDIA_TYPE}; ext="bulk bulk"', True),
    ],
)
def test_a_content_type_of_ours_is_taken(content_type: str, bulk: bool) -> None:
    assert check_content_type(make_request(("Content-Type", content_type))) is bulk


@pytest.mark.parametrize(
    "content_types",
    [
        [],
        [""],
        ["application/json"],
        ["text/plain"],
        [f"{MEDIA_TYPE}x"],
        [f"{MEDIA_TYPE}; charset=klingon"],
        [f"{MEDIA_TYPE}; charset="],
        [f"{MEDIA_TYPE}; charset=iso-8859-1"],
        [f'{MEDIA_TYPE}; profile="a'],
        [f'{MEDIA_TYPE}; profile="a"b'],
        [f'{MEDIA_TYPE}; profile="a"; ext=other'],
        [f"{MEDIA_TYPE}; version=1"],
        [f"{MEDIA_TYPE}; ext=other"],
        [f'{MEDIA_TYPE}; ext="bulk other"'],
        [f"{BULK}; charset=latin1"],
        [MEDIA_TYPE, MEDIA_TYPE],
        [f"{MEDIA_TYPE}, {MEDIA_TYPE}"],
    ],
)
def test_any_other_content_type_is_415(content_types: list[str]) -> None:
    with pytest.raises(Problem) as problem:
        check_content_type(make_request(*[("Content-Type", value) for value in content_types]))
    assert status_of(problem) == 415


@pytest.mark.parametrize(
    "accepts",
    [
        [],
        ["*/*"],
        ["application/*"],
        [MEDIA_TYPE],
        [MEDIA_TYPE.upper()],
        [BULK],
        ["text/html", MEDIA_TYPE],
        [f"text/html, {MEDIA_TYPE}"],
        [f"{MEDIA_TYPE}; q=0.001"],
        [f"{MEDIA_TYPE}; charset=utf-8, {MEDIA_TYPE}"],
        [f"{MEDIA_TYPE};q=0, */*;q=0.1"],
        ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
        [f'{MEDIA_TYPE}; profile="https://a/b"'],
        [f'{MEDIA_TYPE}; profile="https://a/b,c;d"'],
        [f'text/html;a=",{MEDIA_TYPE}x,", */*'],
        [f'{MEDIA_TYPE}; profile="\\",\\""; q=0.5'],
        ['text/html;a="', MEDIA_TYPE],
    ],
)
def test_an_accept_that_takes_our_type_is_met(accepts: list[str]) -> None:
    check_accept(make_request(*[("Accept", value) for value in accepts]))


@pytest.mark.parametrize(
    "accepts",
    [
        ["text/html"],
        ["application/json"],
        ["image/*"],
        [f"{MEDIA_TYPE};q=0"],
        [f"{MEDIA_TYPE};q=0.000"],
        ["*/*;q=0"],
        [f"{MEDIA_TYPE}; charset=utf-8"],
        [f"{MEDIA_TYPE}; ext=other"],
        ["?"],
        [f"{MEDIA_TYPE}x"],
        [",".join(["a/b"] * 100 + ["*/*"])],
        [",".join(['a/b;c="d"'] * 100 + ["*/*"])],
        ["a/b"] * 100 + ["*/*"],
        [f'text/html;a=",{MEDIA_TYPE},"'],
        [f'text/html;a=",{MEDIA_TYPE}'],
        [f'{MEDIA_TYPE}; profile="a";q="0"'],
        ['"' + '\\"' * 4000 + ",*/*"],
    ],
)
def test_an_accept_that_does_not_is_406(accepts: list[str]) -> None:
    with pytest.raises(Problem) as problem:
        check_accept(make_request(*[("Accept", value) for value in accepts]))
    assert status_of(problem) == 406


@pytest.mark.parametrize("accept", [BULK, "*/*", "application/*"])
def test_a_bulk_answer_needs_a_client_that_accepts_it(accept: str) -> None:
    check_accept(make_request(("Accept", accept)), bulk=True)


def test_a_bulk_answer_goes_to_no_one_else() -> None:
    with pytest.raises(Problem) as problem:
        check_accept(make_request(("Accept", MEDIA_TYPE)), bulk=True)
    assert status_of(problem) == 406
