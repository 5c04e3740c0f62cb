"""`attachments doctor`: check every part of the service, and name a remedy for each fault.

`checks` lists the checks in order. Each other file of this folder has the checks of one part of the
service. The messages of servers are never shown, because they may contain an address with a
password, or a signature.
"""

from typing import Annotated
from urllib.parse import urlsplit

import typer

from deploy.commands.environment import Misused
from deploy.commands.options import LOCAL, DataDir, Json

Origin = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The origin of pages that upload: https://app.example"),
]
Wait = Annotated[
    int, typer.Option(min=1, max=900, help="Seconds to wait for the event, and the thumbnail.")
]


def doctor(
    origin: Origin = None, wait: Wait = 60, as_json: Json = False, data_dir: DataDir = LOCAL
) -> None:
    """Check every part, make a real upload, and show what is wrong and how to mend it."""
    from deploy.commands.output import print_json
    from deploy.doctor.checks import run_doctor
    from deploy.doctor.report import is_healthy, print_verdicts, progress, to_json

    if origin is not None and not is_origin(origin):
        raise Misused("--origin: must be a scheme and a host alone, such as https://app.example")
    with progress(wait) as on_check:
        verdicts = run_doctor(data_dir, origin=origin, wait_s=wait, on_check=on_check)
    if as_json:
        print_json(to_json(verdicts))
    else:
        print_verdicts(verdicts)
    raise typer.Exit(0 if is_healthy(verdicts) else 1)


def is_origin(text: str) -> bool:
    """Return True if `text` has the form of a browser's Origin (RFC 6454, section 6.2)."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and text == f"{parts.scheme}://{parts.netloc}"
        and "@" not in parts.netloc
        and text.isascii()
        and not any(letter.isspace() for letter in text)
    )
