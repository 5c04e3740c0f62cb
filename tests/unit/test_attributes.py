"""Attributes that the API refuses.

Each error has the text of the contract, and one answer lists the errors of all attributes.
"""

from typing import Any

import pytest

from api.attributes import CREATABLE, check_new
from shared.attachable_types import ATTACHABLE_TYPES
from shared.reserved import TYPES

MAX_SIZE = 314_572_800


def faults(**attributes: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Check a new attachment that has a valid name and these attributes.

    Return the attribute's name, the detail and the `meta` object of each error.
    """
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
def test_a_fault_has_the_contracts_words(
    name: str, value: Any, detail: str, meta: dict[str, Any]
) -> None:
    assert faults(**{name: value}) == [(name, detail, meta)]


@pytest.mark.parametrize("content_type", sorted(TYPES))
def test_every_reserved_type_is_refused_however_it_is_written(content_type: str) -> None:
    for written in (
        content_type,
        content_type.upper(),
        f" {content_type} ;x=y",
        f"{content_type};",
    ):
        assert [fault[1] for fault in faults(content_type=written)] == ["is reserved"]


def test_all_faults_are_reported_in_the_order_of_the_contract() -> None:
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
