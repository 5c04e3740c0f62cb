"""AWS credentials from botocore's sources, renewed before they expire.

The service signs addresses and policies that clients use. botocore alone is not enough for that:
- It does not say when credentials expire.
- It stops signing ten minutes before they expire if they cannot be renewed.
- It renews credentials that are valid for less than 15 minutes at every request.
- For the credentials of an instance, it reports a later expiry than AWS does.

Here, credentials keep their true expiry and are used until then. One task at a time renews them,
with pauses, so that renewals do not slow down requests.
"""

import asyncio
import time
from contextvars import Context
from datetime import UTC, datetime
from typing import Any

from aiobotocore.credentials import AioCredentials, create_credential_resolver
from aiobotocore.session import AioSession, get_session
from botocore.credentials import InstanceMetadataProvider, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from shared.aws_models import share_models
from shared.log import get_logger
from shared.signing import Credentials

SOON_S = 900.0
"""If credentials expire within this many seconds, the next use starts a renewal, as in botocore."""

LEAST_LIFE_S = 2.0
"""Credentials that expire within this many seconds are treated as expired."""

WAIT_S = 2.0
"""Seconds that a caller waits for a renewal. While the old credentials are valid, only the caller
that starts the renewal waits. After they have expired, all callers wait."""

RENEWAL_S = 10.0
"""The longest time, in seconds, of a renewal, and of a wait for the first credentials."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""The longest pause, in seconds, between two renewals. The pause doubles after each renewal that
changes nothing, until it has this length."""

log = get_logger(__name__)


class RenewedCredentials(AioCredentials):
    """Credentials for one event loop; botocore's clients and the service itself sign with them."""

    def __init__(self, chain: Any, found: Any) -> None:
        super().__init__("", "", method=getattr(found, "method", None))
        self._chain = chain
        self._found = found
        self._kept: Credentials | None = None
        self._fault: Exception | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._next_at = 0.0
        self._pause_s = FIRST_PAUSE_S

    async def get_frozen_credentials(  # type: ignore[override]  # as in aiobotocore's own classes
        self,
    ) -> ReadOnlyCredentials:
        """Return the credentials in botocore's form. Raises the same errors as `current`."""
        current = await self.current()
        return ReadOnlyCredentials(current.access_key, current.secret_key, current.token)

    def fresh(self) -> Credentials | None:
        """Return the credentials if they do not need to be renewed yet, else None."""
        kept = self._kept
        if kept is None or (kept.ends_at is not None and _left_s(kept) <= SOON_S):
            return None
        return kept

    async def current(self) -> Credentials:
        """Return valid credentials. Renew them first if they expire soon.

        Raises NoCredentialsError if no credentials are found, and CredentialRetrievalError if the
        last credentials have expired and cannot be renewed.
        """
        if (fresh := self.fresh()) is not None:
            return fresh
        kept = self._kept
        alive = kept is not None and _left_s(kept) >= LEAST_LIFE_S
        began = self._renewal is None and time.monotonic() >= self._next_at
        if began:
            # With an empty context, the task's log lines do not name the request that started it.
            self._renewal = asyncio.create_task(
                self._renew(), name="renewal of credentials", context=Context()
            )
        if self._renewal is not None and (began or not alive):
            # asyncio.wait does not cancel the renewal if this caller is cancelled, because other
            # callers wait for the renewal too.
            await asyncio.wait({self._renewal}, timeout=RENEWAL_S if kept is None else WAIT_S)
        kept = self._kept
        if kept is not None and _left_s(kept) >= LEAST_LIFE_S:
            return kept
        if isinstance(self._fault, NoCredentialsError):
            raise NoCredentialsError
        why = "they ended" if self._fault is None else type(self._fault).__name__
        raise CredentialRetrievalError(provider=self.method, error_msg=why)

    async def _renew(self) -> None:
        before = self._kept
        fault: Exception | None = None
        try:
            async with asyncio.timeout(RENEWAL_S):
                self._kept = await self._ask()
        except Exception as error:  # a source may run a program or read a file: any error may occur
            fault = error
        finally:
            self._renewal = None
        self._note(before, fault)

    def _note(self, before: Credentials | None, fault: Exception | None) -> None:
        """Log when renewals begin to fail, or work again. Set the time of the next renewal."""
        if fault is not None and self._fault is None:
            log.warning(
                "AWS credentials cannot be renewed",
                # the message may contain the output of a credential process
                error=type(fault).__name__,
                ends_at=before.ends_at.isoformat() if before and before.ends_at else None,
            )
        elif fault is None and self._fault is not None:
            log.info("AWS credentials can be renewed again")
        self._fault = fault
        kept = self._kept
        changed = kept is not None and (before is None or kept.ends_at != before.ends_at)
        self._pause_s = FIRST_PAUSE_S if changed else min(self._pause_s * 2, LONGEST_PAUSE_S)
        left_s = 0.0 if kept is None else _left_s(kept)
        # The pause becomes shorter towards the expiry, so that a renewal does not come too late.
        pause_s = max(FIRST_PAUSE_S, min(self._pause_s, left_s / 10))
        self._next_at = time.monotonic() + pause_s

    async def _ask(self) -> Credentials:
        """Get credentials from botocore. botocore asks their source only if they expire soon."""
        if self._found is None:
            self._found = await self._chain.load_credentials()
            if self._found is None:
                raise NoCredentialsError
            self.method = self._found.method
        found = self._found
        if hasattr(found, "_mandatory_refresh_timeout"):
            # `_mandatory_refresh_timeout` and `_advisory_refresh_timeout` are private in botocore.
            # If they differ, botocore hides a failed renewal until ten minutes before the expiry.
            found._mandatory_refresh_timeout = SOON_S
            found._advisory_refresh_timeout = SOON_S
        frozen = await found.get_frozen_credentials()
        return Credentials(
            access_key=frozen.access_key,
            secret_key=frozen.secret_key,
            token=frozen.token,
            # `_expiry_time` is private in botocore, which has no public name for the expiry. The
            # AWS command line reads it too.
            ends_at=getattr(found, "_expiry_time", None),
        )


def _left_s(credentials: Credentials) -> float:
    if credentials.ends_at is None:
        return float("inf")
    return (credentials.ends_at - datetime.now(UTC)).total_seconds()


class _Chain:
    """botocore's list of sources, whose credentials are returned as RenewedCredentials."""

    def __init__(self, session: AioSession, region: str) -> None:
        self._chain = create_credential_resolver(session, region_name=region)
        for provider in self._chain.providers:
            if isinstance(provider, InstanceMetadataProvider):
                # botocore moves the expiry of an instance's credentials to a later time, so that it
                # uses them for longer. A signature for clients must not rely on that.
                # `_role_fetcher` and its `_evaluate_expiration` are private in botocore, which has
                # no setting for this.
                fetcher: Any = provider._role_fetcher  # type: ignore[attr-defined]  # not in stubs
                fetcher._evaluate_expiration = _keep_end

    async def load_credentials(self) -> RenewedCredentials:
        """Return the credentials of the first source that has any. Raises botocore's errors."""
        return RenewedCredentials(self._chain, await self._chain.load_credentials())


def _keep_end(_credentials: object) -> None:
    """Replace botocore's function that changes the expiry of credentials; change nothing."""


def open_session(region: str) -> AioSession:
    """Return a session whose clients sign with RenewedCredentials; `region` is STS's region."""
    session = get_session()
    share_models(session)
    session.register_component("credential_provider", _Chain(session, region))
    return session
