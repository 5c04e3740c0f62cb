"""The exporter of spans: protobuf in OTLP over HTTP. Failing exports are logged as an outage."""

import os
from collections.abc import Sequence
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from shared.metrics import SPANS
from shared.outages import TRACES
from shared.trace_settings import TraceSettings
from shared.web_proxies import proxy_for

EXPORT_S: Final = 5.0
"""The time limit of one export with its retries, in seconds. Other spans wait in the queue."""


class Session(requests.Session):
    """Sends requests. `fault` is why the last request failed; it is empty after a success.

    It reads no environment variable and no file, because a netrc file could add credentials to a
    request.
    """

    def __init__(self, proxy: str | None) -> None:
        super().__init__()
        self.trust_env = False
        self.fault = ""
        if proxy is not None:
            self.proxies = {"http": proxy, "https": proxy}

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request. If it fails, `fault` names the exception or the status, and no secret."""
        try:
            response = super().request(*args, **kwargs)
        except Exception as error:  # the error is raised again; only its class is stored
            self.fault = type(error).__name__
            raise
        # The exporter treats a redirect as a success, and does not follow it.
        self.fault = "" if response.status_code < 300 else f"HTTP {response.status_code}"
        return response


class Exporter(SpanExporter):
    """Exports batches of spans and reports each result; never raises, never logs a traceback."""

    def __init__(self, inner: SpanExporter, session: Session) -> None:
        self._inner = inner
        self._session = session

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch of spans, and count it as exported or lost."""
        self._session.fault = ""
        try:
            result = self._inner.export(spans)
        except Exception as error:  # an exception would end the thread that exports
            self._session.fault = type(error).__name__
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS or self._session.fault:
            SPANS.labels("lost").inc(len(spans))
            TRACES.fault(self._session.fault or "the batch cannot be sent")
            return SpanExportResult.FAILURE
        SPANS.labels("exported").inc(len(spans))
        TRACES.success()
        return result

    def shutdown(self) -> None:
        """Close the exporter. No span is sent after that."""
        self._inner.shutdown()


def make_exporter(settings: TraceSettings) -> Exporter:
    """Return an exporter with the address and headers of the settings; send nothing yet."""
    url = settings.traces_url
    session = Session(proxy_for(url))
    inner = OTLPSpanExporter(
        endpoint=url,
        # requests trusts only its own list of authorities, so the machine's list must be named
        certificate_file=os.environ.get("SSL_CERT_FILE"),
        headers=settings.collector_headers,
        timeout=EXPORT_S,
        compression=Compression.Gzip,
        session=session,
    )
    return Exporter(inner, session)
