"""Turn traces on for a process, if the setting and the extra are there."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import SettingsError
from shared.trace_settings import TraceSettings


@contextmanager
def exported(settings: TraceSettings, process: str) -> Iterator[None]:
    """Record and export the spans of this process for the block, if a collector is set.

    `process` is a part of the service's name in traces. Raises SettingsError if the packages for
    traces are not installed.
    """
    if settings.otlp_url is None:
        yield
        return
    try:
        from shared.otel import recording
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("opentelemetry", "requests"):
            raise
        raise SettingsError(
            "ATTACHMENTS_OTLP_URL: traces need more packages: make install EXTRAS=otel,"
            " or --build-arg OTEL=true for the image"
        ) from None
    with recording(settings, process):
        yield
