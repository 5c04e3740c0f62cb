"""Resource objects that clients send: attribute names, ids, and the form of the object."""

from typing import Any

import pytest

from api.attributes import check_changes, check_identity, resource_object
from api.problems import Problem

MAX_SIZE = 314_572_800
LIST = "is not included in the list"


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
