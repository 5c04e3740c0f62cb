"""Find the object to which an attachment belongs, if `task_id` or `relationships` names it.

The vendor's clients send these members instead of `attachable_type` and `attachable_id`. A member
that equals the attachment's present value is ignored, so a client may send a whole resource back.
Members with other values must not contradict each other.
"""

from dataclasses import dataclass
from typing import Any

from api.attributes import check_attachable_id, read_value
from api.problems import ErrorObject, bad_request, invalid
from shared.attachments import Attachment
from shared.documents import RELATIONSHIPS

LINKS = {name: kind for name, kind in RELATIONSHIPS.items() if name != "creator"}
"""Maps the name of a relationship to the resource type, which is a value of `attachable_type`."""

_IDS = frozenset(f"{name}_id" for name in LINKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A member of the body that sets or removes the attachment's link to an object.

    `pointer` is the member's place in the body; `type` and `id` name the object. `id` is None if
    the member removes a link to an object of this type.
    """

    pointer: str
    type: str
    id: int | None


def read_links(
    data: dict[str, Any],
    attributes: dict[str, Any],
    *,
    row: Attachment | None = None,
    pointer: str = "data",
) -> tuple[dict[str, Any], list[ErrorObject]]:
    """Return the attributes with the link that the body gives, and the error objects of all faults.

    The link is in `attachable_type` and `attachable_id`. `data` is the resource object at
    `pointer`, `row` the attachment before a change. Raises Problem 400 if `relationships` is not an
    object.
    """
    # most requests have neither `relationships` nor an attribute such as `task_id`
    if "relationships" not in data and _IDS.isdisjoint(attributes):
        return attributes, []
    relationships = data.get("relationships", {})
    if not isinstance(relationships, dict):
        raise bad_request("The member 'relationships' must be an object")
    stated, errors = [], []
    for name in LINKS:
        at = f"{pointer}/attributes/{name}_id"
        if f"{name}_id" in attributes:
            value = read_value("attachable_id", attributes[f"{name}_id"])
            fault = check_attachable_id(value)
            if fault is not None:
                errors.append(invalid(at, *fault))
            else:
                stated.append(Stated(pointer=at, type=name, id=value))
        at = f"{pointer}/relationships/{name}"
        if isinstance(given := relationships.get(name), dict) and "data" in given:
            identifier = given["data"]
            valid, value = _read_identifier(name, identifier)
            if valid:
                stated.append(Stated(pointer=at, type=name, id=value))
            else:
                errors.append(invalid(at, "is invalid", {}))
    changed = [item for item in stated if item.id != _shown_id(row, item.type)]
    if not changed:
        return attributes, errors
    wanted = next((item for item in changed if item.id is not None), changed[0])
    errors += [_contradiction(item, wanted.pointer) for item in changed if not _agree(item, wanted)]
    return _merged(wanted, attributes, row, pointer, errors), errors


def _merged(
    wanted: Stated,
    attributes: dict[str, Any],
    row: Attachment | None,
    pointer: str,
    errors: list[ErrorObject],
) -> dict[str, Any]:
    """Return the attributes with the wanted link added.

    For each attribute that contradicts the link, append an error object to `errors`.
    """
    link = {
        "attachable_type": None if wanted.id is None else wanted.type,
        "attachable_id": wanted.id,
    }
    plain = {
        name: value
        for name in link
        if name in attributes
        and (value := read_value(name, attributes[name])) != (getattr(row, name) if row else None)
    }
    if wanted.id is None and plain.get("attachable_type") is not None:
        # no contradiction: `wanted` removes a link, and the attributes set a link of another type
        return attributes
    for name, value in plain.items():
        if value != link[name]:
            errors.append(_contradiction(wanted, f"{pointer}/attributes/{name}"))
    return {**attributes, **link}


def _agree(item: Stated, wanted: Stated) -> bool:
    # If the types differ, only an item that sets a link contradicts `wanted`. An item that removes
    # a link does not.
    return item.id == wanted.id if item.type == wanted.type else item.id is None


def _contradiction(item: Stated, other: str) -> ErrorObject:
    return invalid(item.pointer, f"contradicts {other}", {})


def _shown_id(row: Attachment | None, name: str) -> int | None:
    return row.attachable_id if row is not None and row.attachable_type == name else None


def _read_identifier(name: str, identifier: Any) -> tuple[bool, int | None]:
    """Return whether a resource identifier is valid, and its id."""
    if identifier is None:
        return True, None
    if not isinstance(identifier, dict) or identifier.get("type") != LINKS[name]:
        return False, None
    value = read_value("attachable_id", identifier.get("id"))
    return value is not None and check_attachable_id(value) is None, value
