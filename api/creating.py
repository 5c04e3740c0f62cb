"""Documents of create requests: all of what they say is checked before anything is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.attributes import check_identity, check_new, resource_object
from api.limits import check_declared, find_limits
from api.parts import Parts
from api.problems import ErrorObject, Problem, bad_request
from api.uploads import Source, find_source, name_source
from shared.attachments import NewAttachment

MAX_BULK = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A resource object without faults, and where in the document it is.

    `max_size` is what its file may have, in bytes; `temp_url` names an object to be copied.
    """

    pointer: str
    new: NewAttachment
    temp_url: str | None
    max_size: int


def check_all(parts: Parts, document: Any, *, bulk: bool, organization_id: int) -> list[Checked]:
    """Check a whole document, beside the event loop if it is long. Raises Problem."""
    data = resource_object(document)
    if bulk != isinstance(data, list):
        raise bad_request(
            "The member 'data' must be an array with ext=bulk, and a resource object without"
        )
    items = data if bulk else [data]
    if not 1 <= len(items) <= MAX_BULK:
        raise bad_request(f"The member 'data' must hold from 1 to {MAX_BULK} resource objects")
    found, errors = [], []
    for number, item in enumerate(items):
        pointer = f"data/{number}" if bulk else "data"
        attributes = check_identity(item, attachment_id=None)
        max_size = parts.settings.max_size
        limits, limit_faults = find_limits(item, document, pointer=pointer, max_size=max_size)
        max_size = limits.max_size or max_size
        values, faults = check_new(
            attributes,
            max_size=max_size,
            pointer=pointer,
            public=parts.settings.files_public,
            reserved=parts.settings.reserved_files,
        )
        errors += check_declared(values, limits, faults, pointer=pointer)
        temp_url = values.pop("temp_url", None)
        errors += location_faults(parts, temp_url, organization_id=organization_id, pointer=pointer)
        errors += limit_faults
        values |= {"limit_size": limits.max_size, "limit_types": limits.content_types}
        found.append((pointer, values, temp_url, max_size))
    if errors:
        raise Problem(422, errors)
    return [
        Checked(pointer=pointer, new=NewAttachment(**values), temp_url=temp_url, max_size=max_size)
        for pointer, values, temp_url, max_size in found
    ]


async def find_sources(
    parts: Parts, checked: Sequence[Checked], *, organization_id: int
) -> list[Source | None]:
    """Ask the store about what is to be copied. Raises Problem 422 with all faults."""
    sources: list[Source | None] = []
    errors = []
    for each in checked:
        if each.temp_url is None:
            sources.append(None)
            continue
        try:
            source = await find_source(
                parts, each.temp_url, organization_id=organization_id, pointer=each.pointer,
                max_size=each.max_size,
            )  # fmt: skip
            sources.append(source)
        except Problem as problem:
            errors += problem.errors
    if errors:
        raise Problem(422, errors)
    return sources


def location_faults(
    parts: Parts,
    temp_url: str | None,
    *,
    organization_id: int,
    pointer: str = "data",
) -> list[ErrorObject]:
    """Give the error objects of an address that may not be copied from; none if there is none."""
    if temp_url is None:
        return []
    try:
        name_source(parts.settings, temp_url, organization_id=organization_id, pointer=pointer)
    except Problem as problem:
        return problem.errors
    return []
