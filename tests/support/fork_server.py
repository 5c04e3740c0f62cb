"""A process that has imported the service once, and forks the processes that tests start.

Importing the service costs more than a second of CPU time, and a run of all tests starts more than
a thousand processes. Each forked process runs the same module as `python -m MODULE` does. It has
its own environment, working directory and output, and it executes the module again as `__main__`.

An API compares each of its answers with the API's description, and writes faults to a file.

Code that a test runs instead of a module (`python -c CODE`) replaces functions before the service
imports them. So a second server forks the processes that run code. It has imported the libraries of
the service, but no module of the service.

Requests arrive on a Unix socket as JSON objects, one object for each process. Three descriptors
arrive with each request: standard output, standard error, and a socket for the result. The server
writes the process's id to the socket for the result. When the process has ended, the server also
writes the status of `os.waitpid`.
"""

import atexit
import functools
import gc
import importlib
import json
import logging
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import botocore.session

PACKAGES = ("shared", "api", "worker", "deploy")

LIBRARIES = (
    "aiobotocore.session",
    "aiohttp.web",
    "alembic.command",
    "asyncpg",
    "celery.app.trace",
    "cryptography.x509",
    "kombu.transport.redis",
    "opentelemetry.trace",
    "orjson",
    "prometheus_client",
    "psutil",
    "pydantic_settings",
    "redis.asyncio",
    "structlog",
    "uvloop",
)
"""The libraries of the service whose imports take long."""

SKIPPED = frozenset({"inside", "migrations", "install", "check_python", "__main__"})
"""Names of modules that are not imported: the decoders' modules, the migrations, and modules that
run code when they are imported.
"""

MAX_REQUEST = 1024 * 1024


def import_libraries() -> None:
    """Import the libraries of the service, as far as they are installed."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)


def import_all() -> None:
    """Import every module of the service, except those whose names are in SKIPPED."""
    for package in PACKAGES:
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            if SKIPPED.isdisjoint(module.name.split(".")):
                importlib.import_module(module.name)


def read_models() -> None:
    """Read botocore's models of S3 once, so that the forked processes need not read them."""
    create_loader = functools.cache(botocore.session.create_loader)
    botocore.session.create_loader = create_loader
    session = botocore.session.get_session()
    session.set_credentials("unused", "unused")
    session.create_client("s3", region_name="us-east-1")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A request for a process: its module or its code, its arguments, its environment and its
    working directory.
    """

    kind: str  # "-m" or "-c", the option of Python
    program: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    own_session: bool


def serve(requests: socket.socket) -> Wanted:
    """Fork a process for each request. The function returns only in a forked process."""
    results: dict[int, socket.socket] = {}
    waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the test process reacts to Ctrl-C
    while True:
        ready, _, _ = select.select([requests.fileno(), waking], [], [])
        if waking in ready:
            os.read(waking, 65536)
            _report(results)
        if requests.fileno() not in ready:
            continue
        asked, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, 3)
        if not asked:
            sys.exit()
        out, err, result = descriptors
        answer = socket.socket(fileno=result)
        pid = os.fork()
        if pid:
            os.close(out)
            os.close(err)
            results[pid] = answer
            answer.send(json.dumps({"pid": pid}).encode())
            continue
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for each in (requests, answer, *results.values()):
            each.close()
        os.close(waking)
        os.close(woken)
        wanted = Wanted(**json.loads(asked))
        if wanted.own_session:
            os.setsid()
        for target, descriptor in ((1, out), (2, err)):
            os.dup2(descriptor, target)
            os.close(descriptor)
        return wanted


def _report(results: dict[int, socket.socket]) -> None:
    while results:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        if pid not in results:  # the server of code
            continue
        with results.pop(pid) as answer:
            try:
                answer.send(json.dumps({"status": status}).encode())
            except OSError:  # the test has closed the socket for the result
                continue


class Ending:
    """Ends a forked process without freeing its objects.

    Python would free all objects of the service one by one. To do so, it would write to the memory
    that the process shares with the fork server. The kernel would then copy this memory, which
    costs 0.1 s of CPU time. All other steps of an end are done: threads are awaited, the functions
    of `atexit` run, and output is flushed.
    """

    def __init__(self) -> None:
        self.status: int | None = None

    def end(self) -> None:
        """End the process if its status is known."""
        if self.status is None:
            return
        logging.shutdown()
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except (OSError, ValueError):  # Python reports this fault itself
            return
        os._exit(self.status)

    def run(self, wanted: Wanted) -> None:
        """Run a module, and note the status with which it ends.

        The status of an exception is not noted, because Python prints the traceback of this
        exception.
        """
        try:
            become(wanted)
        except SystemExit as ended:
            if ended.code is None or isinstance(ended.code, int):
                self.status = (ended.code or 0) & 0xFF
            raise
        self.status = 0


def become(wanted: Wanted) -> None:
    """Run the module or the code of a forked process. An exception ends the process."""
    os.chdir(wanted.folder)
    os.environ.clear()
    os.environ.update(wanted.environment)
    sys.path[0] = wanted.folder
    if wanted.kind == "-c":
        sys.argv = ["-c", *wanted.arguments]
        names = vars(ModuleType("__main__"))
        exec(compile(wanted.program, "<string>", "exec"), names)  # noqa: S102 - code of a test
        return
    sys.argv = [wanted.program, *wanted.arguments]
    sys.modules.pop(wanted.program, None)  # runpy executes the module again, as `__main__`
    runpy.run_module(wanted.program, run_name="__main__", alter_sys=True)


def import_service(faults: Path) -> None:
    """Import the service, and compare each answer of an API with the API's description.

    An API writes to the file `faults` if an answer does not match.
    """
    import_all()
    # Imported here, because these modules import the service.
    from tests.support.checked_answers import check_all, note_in
    from tests.support.described import compile_all

    check_all(note_in(faults))
    compile_all()


def main() -> None:
    """Serve requests for modules in this process, and requests for code in a fork.

    The first two arguments are the descriptors of the sockets for these requests. The third
    argument is the path of a file. An API writes to it if an answer does not match the API's
    description.
    """
    modules, code = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    ending = Ending()
    atexit.register(ending.end)  # the function that is registered first runs last
    import_libraries()
    read_models()
    if os.fork():
        requests, other = modules, code
        import_service(Path(sys.argv[3]))
    else:
        requests, other = code, modules
    other.close()
    gc.collect()
    gc.freeze()
    ending.run(serve(requests))


if __name__ == "__main__":
    main()
