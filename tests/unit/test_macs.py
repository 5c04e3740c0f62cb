"""The signatures of `shared.macs` equal those of the standard library."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from shared.macs import Mac


@given(secret=st.binary(max_size=200), messages=st.lists(st.binary(max_size=200), max_size=3))
def test_signatures_are_those_of_hmac(secret: bytes, messages: list[bytes]) -> None:
    """One object signs several messages. A secret may be longer than a block of SHA-256."""
    mac = Mac(secret)

    signatures = [mac.digest(each) for each in messages]

    assert signatures == [hmac.digest(secret, each, hashlib.sha256) for each in messages]
