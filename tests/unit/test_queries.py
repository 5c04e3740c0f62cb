"""The API parses the query parameters of the contract, and links repeat the same parameters."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.pages import page_link
from api.problems import Problem
from api.queries import Listing, View, cursor_of, parse_listing, parse_view
from api.words import parse_id
from shared.documents import INCLUDABLE
from shared.filters import OfAttachable
from shared.keys import MAX_ID
from tests.support.queries import PATH, make_request, read_listing

stable = settings(max_examples=300, deadline=None, derandomize=True, database=None)


# -- queries for ids ------------------------------------------------------------------------------


@pytest.mark.slow
@stable
@given(st.integers(1, MAX_ID))
def test_every_id_is_read_as_it_is_written(number: int) -> None:
    assert parse_id(str(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "00",
        "01",
        "+1",
        "-1",
        "1.0",
        "1e3",
        "0x1",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "1,2",
        "٣",
        "１",
        "²",
        str(2**63),
        str(2**64),
        "1" * 5000,
        "1\0",
        "a",
    ],
)
def test_no_other_text_is_an_id(text: str) -> None:
    assert parse_id(text) is None


# -- queries for lists ----------------------------------------------------------------------------

DEFAULT = {
    "view": View(),
    "filters": (),
    "descending": False,
    "number": 1,
    "size": 30,
    "cursor": False,
    "after": None,
    "before": None,
    "from_end": False,
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("filter[task_id]=1", {"filters": (OfAttachable(attachable_type="task", ids=(1,)),)}),
        ("filter%5Btask_id%5D=1", {"filters": (OfAttachable(attachable_type="task", ids=(1,)),)}),
        ("filter[task_id][eq]=1", {"filters": (OfAttachable(attachable_type="task", ids=(1,)),)}),
        ("filter[page_id]=1,2", {"filters": (OfAttachable(attachable_type="page", ids=(1, 2)),)}),
        (
            "filter[page_id][]=1&filter[page_id][]=2",
            {"filters": (OfAttachable(attachable_type="page", ids=(1, 2)),)},
        ),
        (
            "filter[comment_id][not_eq]=1",
            {"filters": (OfAttachable(attachable_type="comment", ids=(1,), negated=True),)},
        ),
        (
            "filter[task_id]=1&filter[task_id][not_eq]=2",
            {
                "filters": (
                    OfAttachable(attachable_type="task", ids=(1,)),
                    OfAttachable(attachable_type="task", ids=(2,), negated=True),
                )
            },
        ),
        ("sort=id", {}),
        ("sort=-id", {"descending": True}),
        ("include=", {}),
        ("include=task,deal", {"view": View(include=("task", "deal"))}),
        (
            "fields[attachments]=name,nonsense",
            {"view": View(fieldset=frozenset({"name", "nonsense"}))},
        ),
        ("fields[attachments]=", {"view": View(fieldset=frozenset())}),
        ("fields[people]=name", {}),
        ("page[number]=7&page[size]=5", {"number": 7, "size": 5}),
        ("page[size]=200", {"size": 200}),
        ("page[size]=201", {"size": 200}),
        (f"page[size]={10**9}", {"size": 200}),
        (f"page[size]={'1' * 5000}", {"size": 200}),
        (f"page[after]={cursor_of(5)}", {"cursor": True, "after": 5}),
        (f"page[before]={cursor_of(5)}&page[size]=2", {"cursor": True, "before": 5, "size": 2}),
        ("page[after]=", {"cursor": True}),
        ("page[before]=", {"cursor": True, "before": MAX_ID, "from_end": True}),
        (
            "page[before]=&sort=-id",
            {"cursor": True, "before": 0, "from_end": True, "descending": True},
        ),
        ("page[after]=&page[size]=200", {"cursor": True, "size": 200}),
        *[
            (
                f"filter[page_id]{one}=1&filter[page_id]{two}=2",
                {"filters": (OfAttachable(attachable_type="page", ids=(1, 2)),)},
            )
            for one, two in [
                ("[0]", "[1]"),
                ("[eq][]", "[eq][]"),
                ("[eq][0]", "[eq][1]"),
                ("", "[]"),
                ("[eq]", "[0]"),
            ]
        ],
        (
            "filter[page_id][not_eq][]=1&filter[page_id][not_eq][7]=2",
            {"filters": (OfAttachable(attachable_type="page", ids=(1, 2), negated=True),)},
        ),
        # If a parameter is repeated, the last value counts. A value repeated in an array counts
        # once.
        ("page[size]=5&page[size]=6", {"size": 6}),
        ("page[number]=x&page[number]=3", {"number": 3}),
        (f"page[after]=x&page[after]={cursor_of(5)}", {"cursor": True, "after": 5}),
        ("page[before]=x&page[before]=", {"cursor": True, "before": MAX_ID, "from_end": True}),
        ("sort=name&sort=-id", {"descending": True}),
        ("include=owner&include=task", {"view": View(include=("task",))}),
        (
            "filter[task_id]=x&filter[task_id]=2",
            {"filters": (OfAttachable(attachable_type="task", ids=(2,)),)},
        ),
        *[
            (f"include{one}=task&include{two}=deal,task", {"view": View(include=("task", "deal"))})
            for one, two in [("[]", "[]"), ("[0]", "[1]"), ("", "[]")]
        ],
        *[
            (
                f"fields[attachments]{one}=name&fields[attachments]{two}=size",
                {"view": View(fieldset=frozenset({"name", "size"}))},
            )
            for one, two in [("[]", "[]"), ("[0]", "[1]")]
        ],
        ("fields[people][]=name", {}),
        # JSON:API's cursor pagination profile defines a page size as decimal digits, so `05` is 5.
        ("page[after]=&page[size]=05", {"cursor": True, "size": 5}),
        (
            "filter[task_id][]=1&filter[task_id][]=2&filter[task_id][]=1",
            {"filters": (OfAttachable(attachable_type="task", ids=(1, 2)),)},
        ),
    ],
)
def test_every_parameter_of_the_contract_is_parsed(query: str, expected: dict[str, Any]) -> None:
    found = read_listing(query)
    assert {name: getattr(found, name) for name in DEFAULT} == {**DEFAULT, **expected}


@pytest.mark.parametrize("name", sorted(INCLUDABLE))
def test_every_relationship_can_be_included(name: str) -> None:
    assert parse_view(make_request(f"include={name}")).include == (name,)


def test_a_link_does_not_grow_when_parameters_are_sent_again_with_it() -> None:
    own = "filter[task_id][]=1&filter[task_id][]=2&sort=-id&include=task&page[size]=5"
    link = page_link(read_listing(own), PATH, number="2", size="5")
    for _ in range(3):
        again = page_link(read_listing(f"{urlsplit(link).query}&{own}"), PATH, number="2", size="5")
        assert again == link


@pytest.mark.parametrize("query", ["filter[task_id]=1", "sort=id", "page[size]=1", "x=1"])
def test_one_resource_takes_include_and_fields_only(query: str) -> None:
    with pytest.raises(Problem) as problem:
        parse_view(make_request(query))
    assert problem.value.status == 400
    view = parse_view(make_request("include=task&fields[attachments]=name"))
    assert view == View(include=("task",), fieldset=frozenset({"name"}))


@pytest.mark.slow
@stable
@given(st.integers(1, MAX_ID))
def test_a_cursor_leads_back_to_its_place(number: int) -> None:
    assert read_listing(f"page[after]={cursor_of(number)}").after == number


def test_a_link_repeats_the_question_and_names_the_page() -> None:
    asked = read_listing("filter[comment_id]=3&sort=-id&page[number]=2&page[size]=5")
    link = page_link(asked, f"http://host{PATH}", number="3", size="5")
    assert link == (
        f"http://host{PATH}?filter%5Bcomment_id%5D=3&sort=-id&page%5Bnumber%5D=3&page%5Bsize%5D=5"
    )


NAMES = st.sampled_from(
    [
        "filter[task_id]",
        "filter[task_id][]",
        "filter[page_id][not_eq]",
        "filter[",
        "filter",
        "sort",
        "include",
        "fields[attachments]",
        "fields[",
        "page[number]",
        "page[size]",
        "page[after]",
        "page[before]",
        "page[",
        "page",
    ]
)
WORDS = st.sampled_from(["1", "1,2", "0", "id", "-id", "task", "MQ", ""])
BYTES = st.binary(max_size=10).map(lambda raw: quote(raw, safe=""))
RAW = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"))


def test_a_relationship_that_is_named_often_is_included_once() -> None:
    assert read_listing("include=" + ",".join(["task", "page"] * 800)).view.include == (
        "task",
        "page",
    )


@pytest.mark.slow
@stable
@given(st.lists(st.tuples(NAMES | BYTES | RAW, WORDS | BYTES | RAW), max_size=4))
def test_any_query_is_understood_or_400(pairs: list[tuple[str, str]]) -> None:
    sent = make_request("&".join(f"{name}={value}" for name, value in pairs))
    for parse in (parse_listing, parse_view):
        asked, refusal = None, None
        try:
            asked = parse(sent)
        except Problem as problem:
            refusal = problem
        assert refusal is None or (refusal.status == 400 and refusal.response().body)
        if isinstance(asked, Listing):
            link = page_link(asked, f"http://host{PATH}", number="2")
            query = parse_qsl(urlsplit(link).query, keep_blank_values=True)
            assert query == [*asked.kept, ("page[number]", "2")]
