"""Build the whole OpenAPI 3.1 document from the enumerations and limits in the code."""

from functools import cache

import orjson

from api.openapi import (
    attachment_operations,
    attachment_schemas,
    other_operations,
    other_schemas,
    sent_schemas,
    webhook_events,
    webhook_operations,
)
from api.openapi.components import BACKEND, SECURITY, error_answers, headers, parameters
from api.openapi.shapes import Json
from shared.tokens import SCOPES
from shared.version import VERSION

ABOUT = f"""The Attachments API of this service, over [JSON:API](https://jsonapi.org).

- Every path may also end in a slash. `HEAD` is answered as `GET`, without the body.
- Bodies need `Content-Type: application/vnd.api+json`. They may be compressed by gzip or deflate.
- Unknown members of a body are ignored; unknown parameters are errors.
- An address without a route is 404, a method that a route does not have is 405 with `Allow`.
- Preflights (`OPTIONS`) of browsers are answered 204 for the origins that the settings allow.
- A token has one of the scopes {", ".join(f"`{scope}`" for scope in SCOPES)}; each includes those
  before it. `read` is enough for GET.
"""


def describe() -> Json:
    """Return the OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Attachments",
            "version": VERSION,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": BACKEND,
        "tags": [
            {"name": "attachments", "description": "Create, find, change and delete attachments"},
            {"name": "usage", "description": "What an organization uses, and its quotas"},
            {"name": "webhooks", "description": "Be told at once of what happens"},
            {"name": "files", "description": "Signed addresses, which need no token"},
            {"name": "stores", "description": "Events of the store: an object was uploaded"},
            {"name": "health", "description": "Health checks"},
            {"name": "description", "description": "The description of the API itself"},
        ],
        "paths": {
            **attachment_operations.paths(),
            **webhook_operations.paths(),
            **other_operations.paths(),
        },
        "webhooks": webhook_events.webhooks(),
        "components": {
            "schemas": {
                **attachment_schemas.shown(),
                **sent_schemas.sent(),
                **other_schemas.webhooks(),
                **other_schemas.others(),
            },
            "parameters": parameters(),
            "headers": headers(),
            "responses": error_answers(),
            "securitySchemes": SECURITY,
        },
    }


@cache
def rendered() -> bytes:
    """Return the document as JSON. It is built at the first call."""
    return orjson.dumps(describe())
