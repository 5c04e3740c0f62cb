"""Start to record traces in a process, if a collector is set and the extra `otel` is installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import SettingsError
from shared.trace_settings import TraceSettings


@contextmanager
def exported(settings: TraceSettings, process: str) -> Iterator[None]:
    """Record the spans of this process during the block, and export them to the collector.

    Does nothing if no collector is set. `process` becomes a part of the service's name in traces.
    Raises SettingsError if a collector is set but the packages for traces are not installed.
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
