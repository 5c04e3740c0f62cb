"""Check the documents of create requests. The whole document is checked before a row is created."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.attachables import read_links
from api.attributes import check_identity, check_new, resource_object
from api.limits import check_declared, find_limits
from api.parts import Parts
from api.problems import Problem, bad_request
from api.temp_urls.locations import Location, judge, locate
from api.temp_urls.sources import Source, find_source
from shared import content_types
from shared.new_attachments import NewAttachment
from shared.settings import Settings

MAX_BULK = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A resource object without faults, which is at `pointer` in the document.

    `max_size` is the largest allowed size of the attachment's file, in bytes. `location` is the
    place of the object that the new attachment copies; None if the client will upload a file.
    """

    pointer: str
    new: NewAttachment
    location: Location | None
    max_size: int


def check_all(parts: Parts, document: Any, *, bulk: bool, organization_id: int) -> list[Checked]:
    """Check a whole document: one resource object, or up to 100 in a bulk request.

    Raises Problem: 400, 403 or 409 at the first fault in the structure, or 422 with all faults of
    values. This function must not use the event loop: `read_json` calls it in a thread if the
    document is long.
    """
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
        attributes, link_faults = read_links(item, attributes, pointer=pointer)
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
        location = None
        if temp_url is not None:
            located = locate(temp_url, parts.settings)
            location, location_faults = judge(
                parts.settings, temp_url, located, organization_id=organization_id, pointer=pointer
            )
            errors += location_faults
        errors += [*link_faults, *limit_faults]
        values |= {"limit_size": limits.max_size, "limit_types": limits.content_types}
        found.append((pointer, values, location, max_size))
    if errors:
        raise Problem(422, errors)
    return [
        Checked(pointer=pointer, new=NewAttachment(**values), location=location, max_size=max_size)
        for pointer, values, location, max_size in found
    ]


async def find_sources(
    parts: Parts, checked: Sequence[Checked], *, organization_id: int
) -> list[Source | None]:
    """Look up in the store the objects that must be copied.

    Returns one entry per resource object, None for an object without `temp_url`. Raises Problem 422
    with all faults.
    """
    sources: list[Source | None] = []
    errors = []
    for each in checked:
        if each.location is None:
            sources.append(None)
            continue
        try:
            source = await find_source(
                parts,
                each.location,
                organization_id=organization_id,
                max_size=each.max_size,
            )
            sources.append(source)
        except Problem as problem:
            errors += problem.errors
    if errors:
        raise Problem(422, errors)
    return sources


def stored_type(settings: Settings, content_type: str | None, file_name: str) -> str | None:
    """Return the content type with which an upload must be stored; None allows any type.

    In public mode, browsers get the type from the store, so a type is always required. Otherwise
    the redirect to the store overrides the stored type, so a type is required only if the client
    declared one.
    """
    if settings.files_public:
        return content_types.public_type(content_type, file_name)
    return content_type
