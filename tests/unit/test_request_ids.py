"""Request ids from clients have a maximum length, and cannot harm a log or a message."""

from collections.abc import Mapping

import pytest

from shared.request_ids import request_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"X-Request-Id": "a" * 128}, "a" * 128, id="longest"),
        pytest.param({"X-Request-Id": "a" * 129}, None, id="too long"),
        pytest.param({"X-Request-Id": 'a"b'}, None, id="quote"),
        pytest.param({"X-Request-Id": "a b"}, None, id="space"),
        pytest.param({"X-Request-Id": "%s"}, None, id="percent"),
        pytest.param({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE, id="trace"),
        pytest.param(
            {"X-Request-Id": "mine", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
            "mine",
            id="both",
        ),
        pytest.param({"traceparent": f"ff-{TRACE}-00f067aa0ba902b7-01"}, None, id="version ff"),
        pytest.param({"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}, None, id="zeros"),
        pytest.param({"traceparent": "00-" + "x" * 5000}, None, id="long trace"),
        pytest.param({}, None, id="none"),
    ],
)
def test_a_request_id_is_taken_only_if_it_is_short_and_plain(
    headers: Mapping[str, str], expected: str | None
) -> None:
    given = request_id(headers)
    if expected is None:
        assert len(given) == 32
        assert int(given, 16) > 0
    else:
        assert given == expected
