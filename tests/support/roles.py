"""PostgreSQL roles with fewer privileges than the service needs."""

from urllib.parse import urlsplit


def with_role(url: str, role: str) -> str:
    """Return a database address for another role, whose password is `secret-of-role`."""
    parts = urlsplit(url)
    return parts._replace(
        netloc=f"{role}:secret-of-role@{parts.netloc.rpartition('@')[2]}"
    ).geturl()
