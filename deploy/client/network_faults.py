"""Descriptions of network errors for users."""

import socket

import aiohttp


def fault_of(error: BaseException) -> str:
    """Describe a network error without the exception's own text, which may contain addresses."""
    if isinstance(error, TimeoutError | aiohttp.ServerTimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its TLS certificate is not accepted"
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return "its name is not known"
    if isinstance(error, ConnectionRefusedError) or (
        isinstance(error, aiohttp.ClientConnectorError)
        and isinstance(error.os_error, ConnectionRefusedError)
    ):
        return "connection refused"
    return type(error).__name__
