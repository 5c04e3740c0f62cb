"""The types of the fixtures that start APIs, workers and other processes of the service."""

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from tests.support.service import Service
from tests.support.service_processes import ServiceProcess, WorkerProcess

SomeProcess = TypeVar("SomeProcess", bound=ServiceProcess)


class StartService(Protocol):
    """A function that starts an API. Keyword arguments are settings: `max_size="10"`."""

    def __call__(self, **overrides: str) -> Awaitable[Service]: ...


class StartWorker(Protocol):
    """A function that starts a worker process. Keyword arguments are settings: `lease="2"`."""

    def __call__(self, service: Service, **overrides: str) -> Awaitable[WorkerProcess]: ...


class Launch(Protocol):
    """A function that starts a process of the service, and returns the running process."""

    async def __call__(self, process: SomeProcess) -> SomeProcess: ...
