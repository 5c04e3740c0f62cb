"""Choose the ports of `attachments up`. They are those of the last run if these are free."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.embedded.ports import HOST, choose_ports
from deploy.processes.supervisor import StartFailed
from shared.listening import fault_of, listen_everywhere

USUAL_PORT = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPorts:
    """The ports by name, including `api`. `notes` are messages about ports that had to change."""

    ports: dict[str, int]
    notes: list[str]


def choose(port: int | None, last: Mapping[str, int]) -> ChosenPorts:
    """Choose the ports of a run.

    `port` is the API's port from the command line. None means the last run's port, or 8000, or any
    free port, in this order; 0 means any free port. Raises StartFailed if a port that the operator
    has set is taken.
    """
    from deploy.local.plan import METRICS_PORTS, PORTS

    api_port, note = _choose_api_port(port, last.get("api", 0))
    chosen = {"api": api_port, **choose_ports(PORTS, last, reserved={api_port})}
    notes = [] if note is None else [note]
    notes += [
        f"port {last[name]} of {name} is taken: it uses port {chosen[name]} instead"
        for name in PORTS
        if last.get(name, chosen[name]) != chosen[name]
    ]
    if metrics_port := _given("ATTACHMENTS_METRICS_PORT"):
        host = os.environ.get("ATTACHMENTS_METRICS_HOST") or HOST
        if fault := _fault_at(host, metrics_port):
            raise StartFailed(
                "ATTACHMENTS_METRICS_HOST, ATTACHMENTS_METRICS_PORT: "
                f"{host} port {metrics_port} cannot be listened on: {fault}"
            )
        chosen[METRICS_PORTS["api"]] = metrics_port
    return ChosenPorts(ports=chosen, notes=notes)


def _choose_api_port(port: int | None, last: int) -> tuple[int, str | None]:
    """Choose the API's port.

    If nobody requested the chosen port and it is not 8000, also returns a message.
    """
    asked = port if port is not None else _given("ATTACHMENTS_API_PORT")
    if asked:
        if fault := api_fault_of(asked):
            raise StartFailed(f"port {asked} cannot be listened on: {fault}")
        return asked, None
    if asked == 0:
        free = last if last and not api_fault_of(last) else choose_ports(("api",))["api"]
        return free, None
    faults = {each: api_fault_of(each) for each in (last, USUAL_PORT) if each}
    free = next((each for each, fault in faults.items() if not fault), 0)
    chosen = free or choose_ports(("api",))["api"]
    taken = [f"port {each} ({fault})" for each, fault in faults.items() if fault]
    as_last = ", as last time" if chosen == last else ""
    if taken:
        where = " and ".join(taken)
        return chosen, f"the API cannot listen on {where}: it uses port {chosen} instead{as_last}"
    if chosen != USUAL_PORT:
        usual = f"--port {USUAL_PORT} asks for the usual one"
        return chosen, f"the API uses port {chosen}{as_last}; {usual}"
    return chosen, None


def _given(name: str) -> int | None:
    """Return the port in an environment variable; None if the variable is not set."""
    given = os.environ.get(name, "")
    return int(given) if given.isdecimal() else None


def api_fault_of(port: int) -> str | None:
    """Return why the API cannot listen on its address at this port; None if it can."""
    return _fault_at(os.environ.get("ATTACHMENTS_API_HOST") or HOST, port)


def _fault_at(host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Resolve the name here, because create_server hides the errors of the resolver.
        socket.getaddrinfo(host, port, family)
        listening = listen_everywhere(host, port)
        (listening or socket.create_server((host, port), family=family)).close()
    except (OSError, UnicodeError) as error:
        return fault_of(error)
    return None
