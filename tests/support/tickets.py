"""Requests that a web page makes with a ticket and without a token."""

import asyncio
from typing import Any

from tests.support.opened_files import fetch
from tests.support.service import Answer, Service


def look(service: Service, created: Any, more: str = "") -> "asyncio.Task[Answer]":
    """Start a request for a created attachment's status; `more` is further query parameters."""
    return asyncio.create_task(fetch(service.client, created["meta"]["status_url"] + more))
