"""Read and check an attachment's attributes in a request; report all faults together."""

import re
from collections.abc import Callable
from typing import Any

from api.problems import ErrorObject, access_denied, bad_request, general, invalid
from shared import content_types
from shared.attachable_types import ATTACHABLE_TYPES
from shared.attachments import Attachment
from shared.reserved import Reserved

MAX_TEXT = 255
MAX_URL = 4096
MAX_INTEGER = 2**63 - 1

RESERVED = Reserved()

# Characters that a text may not have. PostgreSQL cannot store NUL. CR and LF would break headers. A
# lone surrogate is not a character.
_NO_TEXT = re.compile("[\x00\r\n\ud800-\udfff]")

_DECIMAL = re.compile(r"-?[0-9]{1,40}", re.ASCII)
INTEGERS = frozenset({"size", "attachable_id"})
FREE_STRINGS = frozenset({"message_id", "external_id"})
NEVER_NULL = frozenset({"name", "attachable_type"})
"""Attributes that may not be a blank string. For all others, a blank string means null."""

RESERVABLE = frozenset({"name", "content_type"})
"""The attributes for which the deployment may reserve values."""

Fault = tuple[str, dict[str, Any]]
"""The members `detail` and `meta` of an error object."""


def read_value(name: str, value: Any) -> Any:
    """Convert the lenient forms of an attribute (contract.md, "Lenient in, exact out").

    For an optional attribute, a blank string becomes null. For an integer attribute, a decimal
    string becomes an integer. For a free string, an integer becomes its digits. Other values are
    returned unchanged.
    """
    if isinstance(value, str):
        if name not in NEVER_NULL and not value.strip():
            return None
        if name in INTEGERS and _DECIMAL.fullmatch(value):
            return int(value)
    elif name in FREE_STRINGS and type(value) is int:
        return str(value)
    return value


def resource_object(document: Any) -> Any:
    """Return the primary data of a document. Raises Problem 400 if there is none."""
    if not isinstance(document, dict):
        raise bad_request("The document must be an object")
    if "data" not in document:
        raise bad_request("The document has no member 'data'")
    return document["data"]


def check_identity(
    data: Any, *, attachment_id: int | None, kind: str = "attachments"
) -> dict[str, Any]:
    """Check type and id of a resource object, and return its attributes.

    `attachment_id` is the resource's id; None if the client may not give one. `kind` is the type of
    the resource. Raises Problem: 400 for a wrong structure, 403 for an id that may not be given,
    409 for a wrong type or id.
    """
    if not isinstance(data, dict):
        raise bad_request("The member 'data' must be a resource object")
    if "type" not in data:
        raise bad_request("The resource object has no member 'type'")
    if data["type"] != kind:
        raise general(409, f"The resource type must be '{kind}'")
    if attachment_id is None:
        if "id" in data:
            raise access_denied("Ids are given by the service", reason="an id was given")
    elif "id" in data and data["id"] != str(attachment_id):
        raise general(409, "The id in the body is not the id in the address")
    attributes = data.get("attributes", {})
    if not isinstance(attributes, dict):
        raise bad_request("The member 'attributes' must be an object")
    return attributes


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and _NO_TEXT.search(value) is None


def _shown(value: Any) -> dict[str, Any]:
    # An error repeats only a value that is short and that JSON can represent.
    if isinstance(value, str) and not (_is_text(value) and len(value) <= MAX_TEXT):
        return {}
    if isinstance(value, (str, bool, float)) or value is None:
        return {"value": value}
    if isinstance(value, int):
        return {"value": value if abs(value) <= MAX_INTEGER else str(value)}
    return {}


def _check_name(value: Any, max_size: int) -> Fault | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return "can't be blank", {}
    if not _is_text(value):
        return "is invalid", {}
    if len(value) > MAX_TEXT:
        return f"is too long (maximum is {MAX_TEXT} characters)", {"count": MAX_TEXT}
    return None


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any, int], Fault | None]:
    def check(value: Any, max_size: int) -> Fault | None:
        if value is None or (isinstance(value, str) and value in allowed):
            return None
        meta = {"allow_nil": True, **_shown(value)}
        # For a blank value, `meta` has no member `allowed`, as in the contract's sample.
        if not (isinstance(value, str) and not value.strip()):
            meta["allowed"] = list(allowed)
        return "is not included in the list", meta

    return check


def _integer_fault(value: Any, low: int, high: int) -> Fault | None:
    if type(value) is int and low <= value <= high:  # `isinstance` accepts True as an int
        return None
    meta = {"allow_nil": True, **_shown(value)}
    if isinstance(value, float):
        return "must be an integer", meta
    if isinstance(value, bool) or not isinstance(value, int):
        return "is not a number", meta
    if value < low:
        return f"must be greater than or equal to {low}", {**meta, "count": low}
    if value > high:
        return f"must be less than or equal to {high}", {**meta, "count": high}
    return None


def _check_size(value: Any, max_size: int) -> Fault | None:
    return None if value is None else _integer_fault(value, 0, max_size)


def check_attachable_id(value: Any, max_size: int = 0) -> Fault | None:
    """Return what is wrong with an id of another service's object; None if it is valid or null."""
    return None if value is None else _integer_fault(value, 1, MAX_INTEGER)


def _check_content_type(value: Any, max_size: int) -> Fault | None:
    if value is None:
        return None
    fault = _check_text(value, max_size)
    if fault is not None:
        return fault
    if not content_types.is_well_formed(value):
        return "is invalid", _shown(value)
    return None


def _check_public_content_type(value: Any, max_size: int) -> Fault | None:
    fault = _check_content_type(value, max_size)
    if fault is None and value is not None and content_types.is_run_by_browsers(value):
        return "is reserved", _shown(value)
    return fault


def _check_text(value: Any, max_size: int) -> Fault | None:
    if value is None:
        return None
    if not _is_text(value):
        return "is invalid", _shown(value)
    if len(value) > MAX_TEXT:
        return f"is too long (maximum is {MAX_TEXT} characters)", {"count": MAX_TEXT}
    return None


def check_text(value: Any) -> Fault | None:
    """Return what is wrong with a text of at most MAX_TEXT characters; None if valid or null."""
    return _check_text(value, 0)


def _check_url(value: Any, max_size: int) -> Fault | None:
    if value is None:
        return None
    if not _is_text(value) or not value:
        return "is invalid", _shown(value)
    if len(value) > MAX_URL:
        return f"is too long (maximum is {MAX_URL} characters)", {"count": MAX_URL}
    return None


# Faults are reported in this order: name, attachable_type, size, content_type, then the rest.
CHECKS: dict[str, Callable[[Any, int], Fault | None]] = {
    "name": _check_name,
    "attachable_type": _one_of(ATTACHABLE_TYPES),
    "size": _check_size,
    "content_type": _check_content_type,
    "attachable_id": check_attachable_id,
    "attachment_type": _one_of(("inline",)),
    "message_id": _check_text,
    "external_id": _check_text,
    "temp_url": _check_url,
}
PUBLIC_CHECKS = {**CHECKS, "content_type": _check_public_content_type}
"""The checks in public mode, in which browsers get files with their declared type from the
store."""

CREATABLE = tuple(CHECKS)
CHANGEABLE = tuple(name for name in CHECKS if name not in ("size", "content_type"))


def check_new(
    attributes: dict[str, Any],
    *,
    max_size: int,
    pointer: str = "data",
    public: bool = False,
    reserved: Reserved = RESERVED,
) -> tuple[dict[str, Any], list[ErrorObject]]:
    """Return the valid attributes of a new attachment, and the error objects of all faults.

    Unknown, read-only and faulty attributes are left out. `pointer` leads to the resource object in
    the document. With `public`, browsers get the file from the store, so types that browsers
    execute are faults too. `reserved` has the types and names that the deployment does not allow.
    """
    checks = PUBLIC_CHECKS if public else CHECKS
    return _check(
        attributes, CREATABLE, max_size, pointer, reserved, required=("name",), checks=checks
    )


def check_changes(
    attributes: dict[str, Any],
    *,
    max_size: int,
    reserved: Reserved = RESERVED,
    row: Attachment | None = None,
) -> tuple[dict[str, Any], list[ErrorObject]]:
    """Return the attributes that a client wants to change, and the error objects of all faults.

    An attribute that equals the value in `row` is no change and is not checked. `temp_url` is not
    compared with `row` but always returned, because one location has many spellings: see
    `api.temp_urls.locations`.
    """
    if row is not None:
        attributes = {
            name: value
            for name, value in attributes.items()
            if name == "temp_url" or name not in CHANGEABLE or not _is_shown(row, name, value)
        }
    return _check(attributes, CHANGEABLE, max_size, "data", reserved, required=())


def _is_shown(row: Attachment, name: str, value: Any) -> bool:
    shown = getattr(row, name)
    # The type is compared too: in Python, True == 1, but for a client they differ.
    return any(
        type(each) is type(shown) and each == shown for each in (value, read_value(name, value))
    )


def _reserved_fault(name: str, value: Any, reserved: Reserved) -> Fault | None:
    if not _is_text(value) or len(value) > MAX_TEXT:
        return None
    is_reserved = reserved.has_name(value) if name == "name" else reserved.has_type(value)
    return ("is reserved", _shown(value)) if is_reserved else None


def _check(
    attributes: dict[str, Any],
    names: tuple[str, ...],
    max_size: int,
    pointer: str,
    reserved: Reserved,
    *,
    required: tuple[str, ...],
    checks: dict[str, Callable[[Any, int], Fault | None]] = CHECKS,
) -> tuple[dict[str, Any], list[ErrorObject]]:
    values: dict[str, Any] = {}
    errors: list[ErrorObject] = []
    for name in names:
        if name not in attributes and name not in required:
            continue
        value = read_value(name, attributes.get(name))
        fault = None
        if name in RESERVABLE:
            # Check this before the form of the value, because a reserved type with wrong parameters
            # is reserved too.
            fault = _reserved_fault(name, value, reserved)
        fault = fault or checks[name](value, max_size)
        if fault is not None:
            errors.append(invalid(f"{pointer}/attributes/{name}", *fault))
        else:
            values[name] = value
    return values, errors
