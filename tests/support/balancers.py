"""nginx and haproxy in front of API processes, configured as in deploy/docs/balancers.md."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest

from deploy.embedded.ports import choose_port
from tests.support.service import until

PAGE = Path(__file__).parents[2] / "deploy" / "docs" / "balancers.md"

Balancer = Literal["nginx", "haproxy"]

_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {sample}
}}
"""
_HAPROXY = """
global
    maxconn 512
{sample}
"""


def needs(program: Balancer) -> None:
    """Skip a test if the program is not installed."""
    if shutil.which(program, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") is None:
        pytest.skip(f"needs the Debian package {program}")


def sample(name: Balancer) -> str:
    """Read the configuration that deploy/docs/balancers.md recommends."""
    found = re.search(rf"```{name}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@asynccontextmanager
async def running_balancer(
    program: Balancer, folder: Path, ports: Sequence[int], changes: Sequence[tuple[str, str]] = ()
) -> AsyncIterator[str]:
    """Run a load balancer in front of API processes on loopback, and yield the balancer's address.

    The configuration comes from the documentation page. TLS is removed, the ports are those of this
    test, and `changes` are further replacements.
    """
    needs(program)
    port = choose_port()
    text = sample(program)
    for old, new in (*_local(program, port, ports), *changes):
        assert old in text, old
        text = text.replace(old, new)
    config = folder / f"{program}.conf"
    config.write_text(
        (_NGINX if program == "nginx" else _HAPROXY).format(folder=folder, sample=text)
    )
    command = {
        "nginx": ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)],
        "haproxy": ["haproxy", "-db", "-f", str(config)],
    }[program]
    log = folder / f"{program}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            command,
            stdout=output,
            stderr=output,
            env={"PATH": "/usr/sbin:/usr/local/sbin:/usr/bin"},
        )
    try:

        async def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return True
            return False

        await until(listens)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)


def _local(program: Balancer, port: int, ports: Sequence[int]) -> list[tuple[str, str]]:
    if program == "nginx":
        servers = "\n".join(f"server 127.0.0.1:{each} max_fails=0;" for each in ports)
        return [
            ("server 10.0.0.11:8000 max_fails=0;\n    server 10.0.0.12:8000 max_fails=0;", servers),
            ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
            ("$scheme", "https"),
        ]
    servers = "\n".join(f"    server api{each} 127.0.0.1:{each} check" for each in ports)
    return [
        (
            "    server api1 10.0.0.11:8000 check\n    server api2 10.0.0.12:8000 check",
            servers,
        ),
        ("bind :443 ssl crt /etc/haproxy/api.pem", f"bind 127.0.0.1:{port}"),
        ("if { ssl_fc }", "if TRUE"),
    ]
