"""Requests that a page without a token makes with a ticket."""

import asyncio
from typing import Any

from tests.support.opened_files import fetch
from tests.support.service import Answer, Service


def look(service: Service, created: Any, more: str = "") -> "asyncio.Task[Answer]":
    """Begin a request for the status of a created attachment, with more parameters."""
    return asyncio.create_task(fetch(service.client, created["meta"]["status_url"] + more))
