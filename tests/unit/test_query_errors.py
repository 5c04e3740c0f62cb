"""The API refuses query parameters that the contract does not list; the error names the
parameter.
"""

from urllib.parse import quote

import pytest

from api.problems import Problem
from api.queries import cursor_of
from tests.support.queries import read_listing


@pytest.mark.parametrize(
    ("query", "title", "detail"),
    [
        ("filter[x]=1", "Unsupported Filter", "Filter 'x' is not supported on this endpoint"),
        (
            "filter[Task_id]=1",
            "Unsupported Filter",
            "Filter 'Task_id' is not supported on this endpoint",
        ),
        (
            "filter[task_id][gt]=1",
            "Unsupported Filter",
            "Filter 'task_id[gt]' is not supported on this endpoint",
        ),
        ("sort=name", "Unsupported Sort", "Sort by 'name' is not supported on this endpoint"),
        ("sort=id,-id", "Unsupported Sort", "Sort by 'id,-id' is not supported on this endpoint"),
        (
            "include=owner",
            "Unsupported Include",
            "Include 'owner' is not supported on this endpoint",
        ),
        (
            "include[]=task&include[]=owner",
            "Unsupported Include",
            "Include 'owner' is not supported on this endpoint",
        ),
        (
            "include=task,owner",
            "Unsupported Include",
            "Include 'owner' is not supported on this endpoint",
        ),
    ],
)
def test_an_unsupported_parameter_is_named(query: str, title: str, detail: str) -> None:
    with pytest.raises(Problem) as problem:
        read_listing(query)
    assert problem.value.errors == [{"status": "400", "title": title, "detail": detail}]


@pytest.mark.parametrize(
    "query",
    [
        "x=1",
        "filter=1",
        "filter[]=1",
        "filter[task_id=1",
        "filter[task_id][eq][eq]=1",
        "filters[task_id]=1",
        "filter[task_id]=",
        "filter[task_id]=a",
        "filter[task_id]=0",
        "filter[task_id]=-1",
        "filter[task_id]=1,",
        f"filter[task_id]={2**63}",
        "filter[task_id]=1%20OR%201=1",
        "filter[task_id][]=01",
        "filter[task_id]=" + ",".join(["1"] * 201),
        "filter[task_id]=" + "&filter[task_id]=".join(["1"] * 201),
        "sort=",
        "include=Task",
        "include=task.deal",
        "page=1",
        "page[]=1",
        "page[offset]=1",
        "page[number=1",
        "page[number]=1&page[number]=0",
        "include[a]=task",
        "include[][]=task",
        "page[after]=&page[size]=00",
        "filter[task_id][a]=1",
        "filter[task_id][0][eq]=1",
        "filter[task_id][-1]=1",
        "filter[task_id][][]=1",
        f"filter[task_id][{quote('٣')}]=1",
        *[
            f"page[{name}]={value}"
            for name in ("number", "size")
            for value in ("", "0", "-1", "1.5", "x", "01", "%2B1", quote("٣"))
        ],
        f"page[number]={'1' * 5000}",
        f"page[number]={10**9 + 1}",
        "page[after]=x",
        f"page[after]={cursor_of(1)}=",
        f"page[after]={cursor_of(1)}&page[before]={cursor_of(2)}",
        f"page[after]={cursor_of(1)}&page[number]=1",
        "page[after]=%00",
        "page[before]=%C3%A9",
    ],
)
def test_anything_else_is_400(query: str) -> None:
    with pytest.raises(Problem) as problem:
        read_listing(query)
    assert problem.value.status == 400


PROFILE = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"
CURSOR = f"page[after]={cursor_of(1)}"


@pytest.mark.parametrize(
    ("query", "parameter", "kind"),
    [
        ("page[after]=x", "page[after]", None),
        ("page[before]=x", "page[before]", None),
        (f"{CURSOR}&page[size]=0", "page[size]", None),
        (f"{CURSOR}&page[size]=x", "page[size]", None),
        (f"{CURSOR}&page[size]=201", "page[size]", "max-size-exceeded"),
        (f"page[before]=&page[size]={'9' * 30}", "page[size]", "max-size-exceeded"),
        (f"{CURSOR}&page[before]={cursor_of(2)}", "page[before]", "range-pagination-not-supported"),
        ("page[after]=&page[before]=", "page[before]", "range-pagination-not-supported"),
        (f"{CURSOR}&sort=name", "sort", "unsupported-sort"),
        (f"sort=name&{CURSOR}", "sort", "unsupported-sort"),
        (f"{CURSOR}&page[number]=2", "page[number]", None),
        ("page[size]=0", "page[size]", None),
        ("page[number]=0", "page[number]", None),
        ("page[limit]=1", "page[limit]", None),
    ],
)
def test_an_error_names_its_parameter_and_its_kind_in_the_profile(
    query: str, parameter: str, kind: str | None
) -> None:
    with pytest.raises(Problem) as problem:
        read_listing(query)
    (error,) = problem.value.errors
    assert error["source"] == {"parameter": parameter}
    assert error.get("links") == (None if kind is None else {"type": f"{PROFILE}{kind}"})
    assert error.get("meta") == (
        {"page": {"maxSize": 200}} if kind == "max-size-exceeded" else None
    )
