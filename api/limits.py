"""Read `meta.limits` of a create request: limits that are stricter than the service's."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

from api.problems import ErrorObject, invalid
from shared.limits import allows, is_pattern

MAX_PATTERNS = 20
MAX_DIGITS = 19
MEMBERS = ("max_size", "content_types")
MAX_UNKNOWN = 10
"""Maximum number of unknown members in `meta.limits` that are reported. A body may have 20,000."""


_BEFORE_TYPES = ("name", "attachable_type", "size", "content_type")
"""Attributes whose errors are listed before the error about a content type that is not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one attachment: `max_size` in bytes, `content_types` as lower-case patterns.

    None means that only the service's limit applies.
    """

    max_size: int | None = None
    content_types: tuple[str, ...] | None = None


NO_LIMITS = Limits()

Errors = list[ErrorObject]


def find_limits(item: Any, document: Any, *, pointer: str, max_size: int) -> tuple[Limits, Errors]:
    """Return the limits of one resource object, and the error objects of all their faults.

    The limits are in `meta.limits` of the resource object. In a document with a single resource
    object, they may also be in the document's `meta.limits`; the two must not differ. `max_size` is
    the service's limit in bytes.
    """
    inner, errors = _read(item, pointer, max_size)
    if not isinstance(document, dict) or "meta" not in document:
        return inner or NO_LIMITS, errors
    if isinstance(document.get("data"), list):
        if isinstance(document["meta"], dict) and document["meta"].get("limits") is not None:
            fault = "must be a member of each resource object's meta"
            errors.append(invalid("meta/limits", fault, {}))
        return inner or NO_LIMITS, errors
    outer, faults = _read(document, "", max_size)
    errors += faults
    if inner is not None and outer is not None and inner != outer and not errors:
        errors.append(invalid("meta/limits", f"contradicts {pointer}/meta/limits", {}))
    return inner or outer or NO_LIMITS, errors


def _read(holder: Any, pointer: str, max_size: int) -> tuple[Limits | None, Errors]:
    """Read `meta.limits` of a resource object or a document. Returns None if there is none."""
    meta = holder.get("meta") if isinstance(holder, dict) else None
    given = meta.get("limits") if isinstance(meta, dict) else None
    if given is None:
        return None, []
    at = f"{pointer}/meta/limits".lstrip("/")
    if not isinstance(given, dict):
        return None, [invalid(at, "is invalid", {})]
    # A misspelt name must be an error. If it were ignored, there would be no limit.
    errors = [
        invalid(f"{at}/{_shown(name)}", "is not a known limit", {"allowed": list(MEMBERS)})
        for name in islice((name for name in given if name not in MEMBERS), MAX_UNKNOWN)
    ]
    size, faults = _max_size(given.get("max_size"), f"{at}/max_size", max_size)
    types, more = _content_types(given.get("content_types"), f"{at}/content_types")
    return Limits(max_size=size, content_types=types), errors + faults + more


def _shown(name: str) -> str:
    # The name becomes part of a JSON pointer in the answer, so it must be short and printable.
    return "".join(character for character in name[:50] if character.isprintable())


def _max_size(value: Any, at: str, highest: int) -> tuple[int | None, Errors]:
    if value is None:
        return None, []
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        number = int(value)
    if isinstance(number, float):
        return None, [invalid(at, "must be an integer", {"allow_nil": True, "value": number})]
    if isinstance(number, bool) or not isinstance(number, int):
        return None, [invalid(at, "is not a number", {"allow_nil": True})]
    shown = number if abs(number) < 2**63 else str(number)
    meta = {"allow_nil": True, "value": shown}
    if number < 1:
        detail = "must be greater than or equal to 1"
        return None, [invalid(at, detail, {**meta, "count": 1})]
    if number > highest:
        detail = f"must be less than or equal to {highest}"
        return None, [invalid(at, detail, {**meta, "count": highest})]
    return number, []


def _content_types(value: Any, at: str) -> tuple[tuple[str, ...] | None, Errors]:
    if value is None:
        return None, []
    if not isinstance(value, list):
        return None, [invalid(at, "is not a list", {"allow_nil": True})]
    if not value:
        return None, [invalid(at, "can't be blank", {"allow_nil": True})]
    if len(value) > MAX_PATTERNS:
        detail = f"is too long (maximum is {MAX_PATTERNS} items)"
        return None, [invalid(at, detail, {"count": MAX_PATTERNS})]
    patterns, errors = [], []
    for number, pattern in enumerate(value):
        text = pattern.strip().lower() if isinstance(pattern, str) else ""
        if is_pattern(text):
            patterns.append(text)
        else:
            errors.append(invalid(f"{at}/{number}", "is invalid", {}))
    return tuple(dict.fromkeys(patterns)), errors


def check_declared(
    values: dict[str, Any], limits: Limits, errors: Errors, *, pointer: str
) -> Errors:
    """Return `errors`, and one more error if the limits do not allow the declared type.

    The order of errors is kept. If no type is declared, a worker checks the type that it measures.
    """
    declared = values.get("content_type")
    if declared is None or limits.content_types is None:
        return errors
    if allows(limits.content_types, declared):
        return errors
    meta = {"allow_nil": True, "value": declared, "allowed": list(limits.content_types)}
    at = f"{pointer}/attributes/content_type"
    earlier = {f"{pointer}/attributes/{name}" for name in _BEFORE_TYPES}
    count = sum(error["source"]["pointer"] in earlier for error in errors)
    added = invalid(at, "is not included in the list", meta)
    return [*errors[:count], added, *errors[count:]]
