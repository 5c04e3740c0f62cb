"""The JSON:API resource of an attachment: its form, its relationships and its fieldsets."""

import json
from dataclasses import replace

import pytest

from shared.attachments import Attachment
from shared.documents import RELATIONSHIPS
from tests.support.attachment_rows import KEY, ORIGIN, ROW, write_resource

RELATED = [name for name in RELATIONSHIPS if name != "creator"]


def test_a_new_attachment_is_written_as_the_contract_shows_it() -> None:
    expected = {
        "id": "1",
        "type": "attachments",
        "attributes": {
            "name": "img.png",
            "content_type": None,
            "size": None,
            "url": f"{ORIGIN}/{KEY}",
            "thumb": None,
            "temp_url": None,
            "resized": False,
            "created_at": "2026-04-17T04:02:48.589+00:00",
            "deleted_at": None,
            "attachment_type": None,
            "message_id": None,
            "external_id": None,
            "attachable_type": "comment",
        },
        "relationships": {
            "organization": {"data": {"type": "organizations", "id": "14"}},
            "creator": {"meta": {"included": False}},
            "invoice": {"meta": {"included": False}},
            "purchase_order": {"meta": {"included": False}},
            "bill": {"meta": {"included": False}},
            "email": {"meta": {"included": False}},
            "page": {"meta": {"included": False}},
            "expense": {"meta": {"included": False}},
            "comment": {"meta": {"included": False}},
            "task": {"meta": {"included": False}},
            "document_style": {"meta": {"included": False}},
            "document_type": {"meta": {"included": False}},
            "deal": {"meta": {"included": False}},
        },
        "meta": {
            "state": "pending",
            "reason": None,
            "width": None,
            "height": None,
            "pages": None,
            "checksum_sha256": None,
            "duration": None,
            "thumbhash": None,
            "thumbs": {},
            "processed_at": None,
        },
    }

    assert json.dumps(write_resource(ROW)) == json.dumps(expected)


@pytest.mark.parametrize("name", RELATED)
def test_the_attachable_is_the_data_of_its_relationship(name: str) -> None:
    row = replace(ROW, attachable_type=name, attachable_id=2**63 - 1)

    relationships = write_resource(row, include=(name,))["relationships"]

    assert relationships.pop(name) == {
        "data": {"type": RELATIONSHIPS[name], "id": "9223372036854775807"}
    }
    assert relationships.pop("organization") == {"data": {"type": "organizations", "id": "14"}}
    assert all(value == {"meta": {"included": False}} for value in relationships.values())


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param(ROW, "comment", id="no id yet"),
        pytest.param(replace(ROW, attachable_id=5), "task", id="of another type"),
        pytest.param(replace(ROW, attachable_type="widget", attachable_id=5), "deal", id="widget"),
        pytest.param(ROW, "creator", id="a token without a person"),
    ],
)
def test_a_named_relationship_to_nothing_is_null(row: Attachment, name: str) -> None:
    assert write_resource(row, include=(name,))["relationships"][name] == {"data": None}


def test_the_creator_is_the_person_of_the_token() -> None:
    row = replace(ROW, creator_id=7)

    assert write_resource(row, include=("creator",))["relationships"]["creator"] == {
        "data": {"type": "people", "id": "7"}
    }


def test_a_fieldset_keeps_attributes_and_relationships_of_those_names() -> None:
    shown = write_resource(ROW, fieldset={"size", "comment", "no_such_field"}, include=("comment",))

    assert shown == {
        "id": "1",
        "type": "attachments",
        "attributes": {"size": None},
        "relationships": {"comment": {"data": None}},
        "meta": write_resource(ROW)["meta"],
    }


def test_a_fieldset_of_attributes_alone_leaves_no_empty_relationships() -> None:
    assert "relationships" not in write_resource(ROW, fieldset={"name"})
