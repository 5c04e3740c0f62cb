"""Functions that make a request object without a server, and read the status of a `Problem`."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from api.problems import Problem


def make_request(*headers: tuple[str, str], payload: Any = None) -> web.Request:
    """Make a request with the given header fields; a field may occur several times."""
    extra = {} if payload is None else {"payload": payload}
    return make_mocked_request("POST", "/api/v2/attachments", headers=CIMultiDict(headers), **extra)


def status_of(problem: pytest.ExceptionInfo[Problem]) -> int:
    """Return the HTTP status of the `Problem` that pytest has caught."""
    return problem.value.status
