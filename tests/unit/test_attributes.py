"""What a client says of an attachment: each fault in the contract's words, all of them at once."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.attributes import (
    CHANGEABLE,
    CREATABLE,
    check_changes,
    check_identity,
    check_new,
    resource_object,
)
from api.problems import Problem
from shared.attachments import ATTACHABLE_TYPES
from shared.reserved import TYPES

MAX_SIZE = 314_572_800


def faults(**attributes: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Check a new attachment with a good name, and list name, detail and meta of each fault."""
    _, errors = check_new({"name": "img.png", **attributes}, max_size=MAX_SIZE)
    return [
        (
            error["source"]["pointer"].removeprefix("data/attributes/"),
            error["detail"],
            error["meta"],
        )
        for error in errors
    ]


def test_an_error_object_is_the_contracts_to_the_letter() -> None:
    _, errors = check_new({"attachable_type": ""}, max_size=MAX_SIZE)
    assert errors == [
        {
            "status": "422",
            "code": "invalid_attribute",
            "title": "Invalid Attribute",
            "detail": "can't be blank",
            "meta": {},
            "source": {"pointer": "data/attributes/name"},
        },
        {
            "status": "422",
            "code": "invalid_attribute",
            "title": "Invalid Attribute",
            "detail": "is not included in the list",
            "meta": {"allow_nil": True, "value": ""},
            "source": {"pointer": "data/attributes/attachable_type"},
        },
    ]


LIST = "is not included in the list"
LONG = "is too long (maximum is 255 characters)"
NIL = {"allow_nil": True}
ALLOWED = {"allowed": list(ATTACHABLE_TYPES)}


@pytest.mark.parametrize(
    ("name", "value", "detail", "meta"),
    [
        ("name", None, "can't be blank", {}),
        ("name", "", "can't be blank", {}),
        ("name", " \t\u2003", "can't be blank", {}),
        ("name", 5, "is invalid", {}),
        ("name", True, "is invalid", {}),
        ("name", ["a"], "is invalid", {}),
        ("name", "a\0b", "is invalid", {}),
        ("name", "a\nb", "is invalid", {}),
        ("name", "a\rb", "is invalid", {}),
        ("name", "\ud800", "is invalid", {}),
        ("name", "a" * 256, LONG, {"count": 255}),
        ("attachable_type", "", LIST, {**NIL, "value": ""}),
        ("attachable_type", " \t", LIST, {**NIL, "value": " \t"}),
        ("attachable_type", False, LIST, {**NIL, "value": False, **ALLOWED}),
        ("attachable_type", "Comment", LIST, {**NIL, "value": "Comment", **ALLOWED}),
        ("attachable_type", "organization", LIST, {**NIL, "value": "organization", **ALLOWED}),
        ("attachable_type", 5, LIST, {**NIL, "value": 5, **ALLOWED}),
        ("attachable_type", ["comment"], LIST, {**NIL, **ALLOWED}),
        ("attachable_type", "a\0", LIST, {**NIL, **ALLOWED}),
        ("attachable_type", "a" * 1000, LIST, {**NIL, **ALLOWED}),
        (
            "size",
            MAX_SIZE + 1,
            f"must be less than or equal to {MAX_SIZE}",
            {**NIL, "value": MAX_SIZE + 1, "count": MAX_SIZE},
        ),
        (
            "size",
            315621376,
            f"must be less than or equal to {MAX_SIZE}",
            {**NIL, "value": 315621376, "count": MAX_SIZE},
        ),
        ("size", -1, "must be greater than or equal to 0", {**NIL, "value": -1, "count": 0}),
        (
            "size",
            10**30,
            f"must be less than or equal to {MAX_SIZE}",
            {**NIL, "value": str(10**30), "count": MAX_SIZE},
        ),
        ("size", 1.0, "must be an integer", {**NIL, "value": 1.0}),
        ("size", True, "is not a number", {**NIL, "value": True}),
        ("size", "x", "is not a number", {**NIL, "value": "x"}),
        ("size", "1.0", "is not a number", {**NIL, "value": "1.0"}),
        ("size", "٣", "is not a number", {**NIL, "value": "٣"}),
        ("size", "-1", "must be greater than or equal to 0", {**NIL, "value": -1, "count": 0}),
        ("size", {}, "is not a number", NIL),
        (
            "content_type",
            "application/x-msdownload",
            "is reserved",
            {"value": "application/x-msdownload"},
        ),
        (
            "content_type",
            "Application/X-MsDownload; a=b",
            "is reserved",
            {"value": "Application/X-MsDownload; a=b"},
        ),
        ("content_type", "png", "is invalid", {"value": "png"}),
        ("content_type", "image/png\n", "is invalid", {}),
        ("content_type", 5, "is invalid", {"value": 5}),
        ("content_type", "image/" + "a" * 255, LONG, {"count": 255}),
        ("attachable_id", 0, "must be greater than or equal to 1", {**NIL, "value": 0, "count": 1}),
        (
            "attachable_id",
            2**63,
            f"must be less than or equal to {2**63 - 1}",
            {**NIL, "value": str(2**63), "count": 2**63 - 1},
        ),
        ("attachable_id", 5.0, "must be an integer", {**NIL, "value": 5.0}),
        ("attachable_id", "5 ", "is not a number", {**NIL, "value": "5 "}),
        (
            "attachable_id",
            "0",
            "must be greater than or equal to 1",
            {**NIL, "value": 0, "count": 1},
        ),
        ("attachable_id", False, "is not a number", {**NIL, "value": False}),
        ("attachment_type", "attached", LIST, {**NIL, "value": "attached", "allowed": ["inline"]}),
        ("message_id", 5.0, "is invalid", {"value": 5.0}),
        ("external_id", True, "is invalid", {"value": True}),
        ("message_id", "a" * 256, LONG, {"count": 255}),
        ("external_id", "a\0", "is invalid", {}),
        ("temp_url", 5, "is invalid", {"value": 5}),
        ("temp_url", "a" * 4097, "is too long (maximum is 4096 characters)", {"count": 4096}),
    ],
)
def test_a_fault_is_told_in_the_contracts_words(
    name: str, value: Any, detail: str, meta: dict[str, Any]
) -> None:
    assert faults(**{name: value}) == [(name, detail, meta)]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"name": "a" * 255},
        {"name": "𝒜" * 255},
        {"name": "../../x"},
        {"name": "\u202e.png"},
        {"size": 0},
        {"size": MAX_SIZE},
        {"attachable_id": 1},
        {"attachable_id": 2**63 - 1},
        *[{"attachable_type": kind} for kind in ATTACHABLE_TYPES],
        {"content_type": "image/png"},
        {"content_type": 'text/plain; charset="utf-8"'},
        {"attachment_type": "inline"},
        {"message_id": "5"},
        {"external_id": "' OR 1=1 --"},
        {"temp_url": "a" * 4096},
        dict.fromkeys([name for name in CREATABLE if name != "name"]),
    ],
)
def test_what_is_allowed_is_taken_as_it_is(attributes: dict[str, Any]) -> None:
    given = {"name": "img.png", **attributes}
    assert check_new(given, max_size=MAX_SIZE) == (given, [])


@pytest.mark.parametrize(
    ("name", "sent", "read"),
    [
        *[
            (name, blank, None)
            for name in CREATABLE
            if name not in ("name", "attachable_type")
            for blank in ("", " ", "\t\u2003")
        ],
        ("size", "1234", 1234),
        ("size", "0", 0),
        ("size", "007", 7),
        ("attachable_id", "7", 7),
        ("attachable_id", str(2**63 - 1), 2**63 - 1),
        ("external_id", 12, "12"),
        ("message_id", 0, "0"),
        ("message_id", -5, "-5"),
    ],
)
def test_types_are_taken_as_clients_send_them(name: str, sent: Any, read: Any) -> None:
    given = {"name": "img.png", name: sent}
    assert check_new(given, max_size=MAX_SIZE) == ({"name": "img.png", name: read}, [])
    if name in CHANGEABLE:
        assert check_changes({name: sent}, max_size=MAX_SIZE) == ({name: read}, [])


@pytest.mark.parametrize("content_type", sorted(TYPES))
def test_every_reserved_type_is_refused_however_it_is_written(content_type: str) -> None:
    for written in (
        content_type,
        content_type.upper(),
        f" {content_type} ;x=y",
        f"{content_type};",
    ):
        assert [fault[1] for fault in faults(content_type=written)] == ["is reserved"]


def test_all_faults_are_told_in_the_order_of_the_contract() -> None:
    wrong: dict[str, Any] = {name: [] for name in reversed(CREATABLE)}
    assert [name for name, *_ in faults(**wrong)] == [
        "name",
        "attachable_type",
        "size",
        "content_type",
        "attachable_id",
        "attachment_type",
        "message_id",
        "external_id",
        "temp_url",
    ]


def test_a_pointer_names_the_resource_of_a_bulk() -> None:
    _, errors = check_new({}, max_size=MAX_SIZE, pointer="data/3")
    assert errors[0]["source"] == {"pointer": "data/3/attributes/name"}


READ_ONLY = {
    "url": 1,
    "thumb": 1,
    "resized": True,
    "created_at": 1,
    "deleted_at": 1,
    "id": 1,
    "state": 1,
    "organization_id": 1,
    "bucket": 1,
    "unknown": {"\0": "\ud800"},
    "": 1,
}


def test_read_only_and_unknown_attributes_are_left_out() -> None:
    assert check_new({**READ_ONLY, "name": "a"}, max_size=MAX_SIZE) == ({"name": "a"}, [])
    assert check_changes({**READ_ONLY, "size": -1, "content_type": 5}, max_size=MAX_SIZE) == (
        {},
        [],
    )


def test_a_change_needs_no_name_but_may_not_blank_it() -> None:
    changes = {"message_id": None}
    assert check_changes(changes, max_size=MAX_SIZE) == (changes, [])
    _, errors = check_changes({"name": "", "attachable_type": ""}, max_size=MAX_SIZE)
    assert [error["detail"] for error in errors] == ["can't be blank", LIST]


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (None, 400),
        ([], 400),
        (1, 400),
        ("data", 400),
        ({}, 400),
        ({"data": None}, 400),
        ({"data": []}, 400),
        ({"data": "x"}, 400),
        ({"data": {}}, 400),
        ({"data": {"type": "attachments", "attributes": None}}, 400),
        ({"data": {"type": "attachments", "attributes": []}}, 400),
        ({"data": {"type": "attachment"}}, 409),
        ({"data": {"type": None}}, 409),
        ({"data": {"type": ["attachments"]}}, 409),
        ({"data": {"type": "attachments", "id": "1"}}, 403),
        ({"data": {"type": "attachments", "id": None}}, 403),
    ],
)
def test_a_document_that_is_no_new_resource_is_refused(document: Any, status: int) -> None:
    with pytest.raises(Problem) as problem:
        check_identity(resource_object(document), attachment_id=None)
    assert problem.value.status == status


@pytest.mark.parametrize("resource_id", [5, "05", "6", None, "", ["5"]])
def test_a_body_with_another_id_is_a_conflict(resource_id: Any) -> None:
    with pytest.raises(Problem) as problem:
        check_identity({"type": "attachments", "id": resource_id}, attachment_id=5)
    assert problem.value.status == 409


def test_a_body_may_repeat_the_id_or_leave_it_out() -> None:
    for data in ({"type": "attachments", "id": "5"}, {"type": "attachments"}):
        assert check_identity(data, attachment_id=5) == {}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None), max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(attributes=st.dictionaries(st.sampled_from(CREATABLE) | st.text(), VALUES, max_size=9))
def test_whatever_is_sent_is_either_storable_or_told_of(attributes: dict[str, Any]) -> None:
    values, errors = check_new(attributes, max_size=MAX_SIZE)
    orjson.dumps(errors)  # can be written, with no surrogate and no number beyond 64 bits
    assert json.loads(json.dumps(errors)) == errors
    refused = {error["source"]["pointer"].rpartition("/")[2] for error in errors}
    assert values.keys() <= set(CREATABLE)
    for name, value in values.items():
        if name in refused or value is None:
            continue
        if name in ("size", "attachable_id"):
            assert type(value) is int
            assert 0 <= value < 2**63
        else:
            assert value.encode().decode() == value
            assert not set(value) & set("\0\r\n")
    assert set(CHANGEABLE) < set(CREATABLE)
