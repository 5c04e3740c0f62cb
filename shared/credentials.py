"""AWS credentials by botocore's own chain, renewed before they end.

botocore alone is not enough for what is signed and handed out. It does not tell when credentials
end, it stops signing ten minutes before if they cannot be renewed, and it renews credentials that
live for less than 15 minutes at every request. Credentials of an instance it even gives a later
end than they have. Here they keep their true end, sign as long as they live, and are renewed by one
task at a time, seldom enough that no request becomes slower by it.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from aiobotocore.credentials import AioCredentials, create_credential_resolver
from aiobotocore.session import AioSession, get_session
from botocore.credentials import InstanceMetadataProvider, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from shared.log import get_logger
from shared.signing import Credentials

SOON_S = 900.0
"""Credentials that end within this time are renewed before they sign; botocore's own number."""

LEAST_LIFE_S = 2.0
"""Credentials with less to live sign nothing: it would have ended when it arrives."""

WAIT_S = 2.0
"""How long a caller waits for a renewal: one while the old credentials live, all afterwards."""

RENEWAL_S = 10.0
"""How long a renewal may take, and callers wait for the first credentials."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Pauses between renewals that change nothing double from the first to the longest."""

log = get_logger(__name__)


class RenewedCredentials(AioCredentials):
    """What a client of botocore signs with, and the service itself. Lives in one event loop."""

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
        """Give the credentials to botocore; raises as `current` does."""
        current = await self.current()
        return ReadOnlyCredentials(current.access_key, current.secret_key, current.token)

    async def current(self) -> Credentials:
        """Give credentials that live, renewed if they end soon.

        Raises NoCredentialsError if there are none, and CredentialRetrievalError if the last ones
        have ended and cannot be renewed.
        """
        kept = self._kept
        if kept is not None and _left_s(kept) > SOON_S:
            return kept
        alive = kept is not None and _left_s(kept) >= LEAST_LIFE_S
        began = self._renewal is None and time.monotonic() >= self._next_at
        if began:
            self._renewal = asyncio.create_task(self._renew(), name="renewal of credentials")
        if self._renewal is not None and (began or not alive):
            # Not cancelled with its first caller: others wait for it too.
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
        except Exception as error:  # chains run programs and read files: anything may be raised
            fault = error
        finally:
            self._renewal = None
        self._note(before, fault)

    def _note(self, before: Credentials | None, fault: Exception | None) -> None:
        """Log how a renewal ended, once for each change, and decide when the next may begin."""
        if fault is not None and self._fault is None:
            log.warning(
                "AWS credentials cannot be renewed",
                error=type(fault).__name__,  # its words may hold what a credential process wrote
                ends_at=before.ends_at.isoformat() if before and before.ends_at else None,
            )
        elif fault is None and self._fault is not None:
            log.info("AWS credentials can be renewed again")
        self._fault = fault
        kept = self._kept
        changed = kept is not None and (before is None or kept.ends_at != before.ends_at)
        self._pause_s = FIRST_PAUSE_S if changed else min(self._pause_s * 2, LONGEST_PAUSE_S)
        left_s = 0.0 if kept is None else _left_s(kept)
        # The less is left, the more often: what has ended is renewed as soon as that is possible.
        pause_s = max(FIRST_PAUSE_S, min(self._pause_s, left_s / 10))
        self._next_at = time.monotonic() + pause_s

    async def _ask(self) -> Credentials:
        """Ask botocore, which asks the source if the credentials end soon."""
        if self._found is None:
            self._found = await self._chain.load_credentials()
            if self._found is None:
                raise NoCredentialsError
            self.method = self._found.method
        found = self._found
        if hasattr(found, "_mandatory_refresh_timeout"):
            # Private in botocore, which otherwise hides until ten minutes before the end that it
            # could not renew.
            found._mandatory_refresh_timeout = SOON_S
            found._advisory_refresh_timeout = SOON_S
        frozen = await found.get_frozen_credentials()
        return Credentials(
            access_key=frozen.access_key,
            secret_key=frozen.secret_key,
            token=frozen.token,
            # botocore has no public name for it; its command line reads the same
            ends_at=getattr(found, "_expiry_time", None),
        )


def _left_s(credentials: Credentials) -> float:
    if credentials.ends_at is None:
        return float("inf")
    return (credentials.ends_at - datetime.now(UTC)).total_seconds()


class _Chain:
    """botocore's chain, whose credentials are renewed as this module does it."""

    def __init__(self, session: AioSession, region: str) -> None:
        self._chain = create_credential_resolver(session, region_name=region)
        for provider in self._chain.providers:
            if isinstance(provider, InstanceMetadataProvider):
                # It moves the end of an instance's credentials to a later time than AWS's, so
                # that they are tried longer: nothing may be handed out that ends by that time.
                fetcher: Any = provider._role_fetcher  # type: ignore[attr-defined]  # not in stubs
                fetcher._evaluate_expiration = _keep_end

    async def load_credentials(self) -> RenewedCredentials:
        """Find the first source that has credentials; raises what botocore does."""
        return RenewedCredentials(self._chain, await self._chain.load_credentials())


def _keep_end(_credentials: object) -> None:
    """Leave the end of credentials as the source told it."""


def open_session(region: str) -> AioSession:
    """Make a session whose clients sign with RenewedCredentials; `region` is that of STS."""
    session = get_session()
    session.register_component("credential_provider", _Chain(session, region))
    return session
