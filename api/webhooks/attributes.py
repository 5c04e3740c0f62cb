"""Read and check the attributes in a request about webhooks; report all faults together."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from api.attributes import check_identity, check_text, resource_object
from api.problems import ErrorObject, Problem, invalid
from shared.settings import Settings
from shared.webhooks.destinations import find_fault
from shared.webhooks.kinds import EVENTS

# A time of RFC 3339. The offset may be left out and is then UTC.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?)?",
    re.ASCII,
)

Fault = tuple[str, dict[str, Any]]
"""The members `detail` and `meta` of an error object."""

DEFAULTS: dict[str, Any] = {"events": list(EVENTS), "description": None, "active": True}
"""The default values of attributes, if a client leaves them out when it creates a webhook."""


def _check_target_url(value: Any, settings: Settings) -> Fault | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return "can't be blank", {}
    if not isinstance(value, str):
        return "is invalid", {}
    fault = find_fault(
        value,
        allow_http=settings.webhook_allow_http,
        networks=settings.allowed_networks,
    )
    return None if fault is None else (fault, {})


def _check_events(value: Any, _: Settings) -> Fault | None:
    if not isinstance(value, list) or not value or len(value) > 2 * len(EVENTS):
        return "must be a list of events", {"allowed": list(EVENTS)}
    if not all(isinstance(each, str) and each in EVENTS for each in value):
        return "is not included in the list", {"allowed": list(EVENTS)}
    return None


def _check_active(value: Any, _: Settings) -> Fault | None:
    return None if isinstance(value, bool) else ("must be true or false", {})


def _check_description(value: Any, _: Settings) -> Fault | None:
    return check_text(value)


CHECKS: dict[str, Callable[[Any, Settings], Fault | None]] = {
    "target_url": _check_target_url,
    "events": _check_events,
    "active": _check_active,
    "description": _check_description,
}


def check_new(document: Any, settings: Settings) -> dict[str, Any]:
    """Return the attributes of a new webhook, with defaults for those that are left out.

    Unknown and read-only attributes are ignored. Raises Problem 422 with all faults.
    """
    attributes = check_identity(resource_object(document), attachment_id=None, kind="webhooks")
    return _check({"target_url": None, **DEFAULTS, **attributes}, settings)


def check_changes(document: Any, settings: Settings, webhook_id: int) -> dict[str, Any]:
    """Return the attributes that a client changes.

    Unknown and read-only attributes are ignored. Raises Problem 422 with all faults.
    """
    data = resource_object(document)
    return _check(check_identity(data, attachment_id=webhook_id, kind="webhooks"), settings)


def _check(attributes: dict[str, Any], settings: Settings) -> dict[str, Any]:
    values: dict[str, Any] = {}
    errors: list[ErrorObject] = []
    for name, check in CHECKS.items():
        if name not in attributes:
            continue
        value = attributes[name]
        if name == "description" and isinstance(value, str) and not value.strip():
            value = None
        if (fault := check(value, settings)) is not None:
            errors.append(invalid(f"data/attributes/{name}", *fault))
        else:
            values[name] = list(dict.fromkeys(value)) if name == "events" else value
    if errors:
        raise Problem(422, errors)
    return values


def check_since(document: Any) -> datetime:
    """Return `since` from a request to retry deliveries. Raises Problem: 400, 409 or 422."""
    attributes = check_identity(
        resource_object(document), attachment_id=None, kind="webhook_deliveries"
    )
    value = attributes.get("since")
    moment = None
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper())
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError):
            moment = None
    if moment is None:
        rule = "must be a time such as 2026-04-17T06:02:48Z"
        raise Problem(422, [invalid("data/attributes/since", rule, {})])
    return moment
