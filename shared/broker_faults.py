"""Describe the errors of redis-py, the broker's client, with their cause, for operators."""

from typing import Final
from urllib.parse import urlsplit

from redis import exceptions

_WORDS: Final = {
    "NOAUTH": "it asks for a password",
    "WRONGPASS": "it refuses the user or the password",
    "NOPERM": "its ACL does not allow this user to do that: run attachments doctor",
    "READONLY": "it is a read-only replica: point ATTACHMENTS_BROKER_URL to the primary",
    "OOM": "its memory is full (maxmemory)",
    "LOADING": "it is still loading its data",
    "MISCONF": "it accepts no writes, because it cannot write to its disk (MISCONF)",
    "MASTERDOWN": "it is a replica without its primary",
    "NOREPLICAS": "it accepts no writes, because it has too few replicas",
    "CLUSTERDOWN": "it is in cluster mode, which is not supported",
    "MOVED": "it is in cluster mode, which is not supported",
    "ASK": "it is in cluster mode, which is not supported",
    "CROSSSLOT": "it is in cluster mode, which is not supported",
    "BUSY": "it is busy with a script",
    "WRONGTYPE": "a key of ours holds something else: another application uses the same prefix",
}

_CLASSES: Final = (
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.BusyLoadingError, "LOADING"),
)
"""Exception classes of redis-py. Their text does not contain the server's error code."""

_BEGINNINGS: Final = (
    ("Authentication required", "NOAUTH"),
    ("invalid username-password", "WRONGPASS"),
    ("invalid password", "WRONGPASS"),
    ("AUTH <password> called without any password", "NOAUTH_SET"),
)


def server_of(broker_url: str) -> str:
    """Return a broker's address without secrets: host and port, or the path of a socket."""
    parts = urlsplit(broker_url)
    return parts.netloc.rpartition("@")[2] or parts.path


def describe(error: BaseException, server: str = "") -> str:
    """Describe an error of the broker's client, without any text that the broker sent.

    `server` is the broker's address without secrets. The description contains it if the broker did
    not answer.
    """
    at = f" at {server}" if server else ""
    for kind, code in _CLASSES:
        if isinstance(error, kind):
            return _WORDS[code]
    # the error of a pipeline begins with the command, which is removed here
    text = str(error).rpartition("caused error: ")[2]
    for beginning, code in _BEGINNINGS:
        if beginning in text:
            return _WORDS.get(code, "it has no password, but ATTACHMENTS_BROKER_URL names one")
    code = text.partition(" ")[0].rstrip(":")
    if isinstance(error, exceptions.RedisError) and code in _WORDS:
        return _WORDS[code]
    if isinstance(error, exceptions.AuthenticationError):
        return _WORDS["WRONGPASS"]
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return f"it does not answer in time{at}"
    cause = error.__cause__ or error.__context__
    if isinstance(error, exceptions.ConnectionError) and isinstance(cause, OSError):
        return f"it cannot be reached{at}: {_reason(cause)}"
    if isinstance(error, OSError) and not isinstance(error, exceptions.RedisError):
        return f"it cannot be reached{at}: {_reason(error)}"
    if "invalid DB index" in text or "DB index is out of range" in text:
        return "it has no database of that number"
    if "unknown command" in text:
        return "it does not support a command that is needed"
    return type(error).__name__


def _reason(error: OSError) -> str:
    return str(error.strerror or type(error).__name__)
