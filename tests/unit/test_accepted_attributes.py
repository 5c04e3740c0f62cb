"""Valid attributes in a client's request: their values and types, and which may be omitted."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.attributes import CHANGEABLE, CREATABLE, check_changes, check_new
from shared.attachable_types import ATTACHABLE_TYPES

MAX_SIZE = 314_572_800


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
def test_allowed_values_are_stored_unchanged(attributes: dict[str, Any]) -> None:
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
def test_every_value_is_storable_or_reported(attributes: dict[str, Any]) -> None:
    values, errors = check_new(attributes, max_size=MAX_SIZE)
    # `orjson` cannot write surrogates and numbers over 64 bits, so no error may contain them.
    orjson.dumps(errors)
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
