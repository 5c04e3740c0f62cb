"""Check every value of a decoder's answer, because hostile code may have written it."""

from typing import Any

from shared.errors import Undecodable
from shared.facts import Facts, Thumbnail, is_duration, is_thumbhash
from shared.reasons import UNDECODABLE
from worker.decoding.protocol import SEEN


def checked(answer: Any, body: bytes, job: str) -> Thumbnail:
    """Return the thumbnail in an answer to a job.

    Raises EOFError if the answer is malformed, and Undecodable if it reports a fault of the file.
    """
    if not isinstance(answer, dict):
        raise EOFError("the decoder's answer is not an object")
    if answer.get("job") != job:
        raise EOFError("the decoder's answer is to another job")
    if "undecodable" in answer:
        raise _checked_undecodable(answer)
    facts, reason = _checked_facts(answer), answer.get("reason")
    content_type, extension = answer.get("content_type"), answer.get("extension")
    if (
        (facts.width is None and facts.pages is None)  # neither an image nor a document
        or content_type not in ("image/jpeg", "image/png", "image/webp")
        or extension not in (None, "png", "jpg")
        or reason not in (None, "damaged")
        or not body
    ):
        raise EOFError("the decoder's answer is malformed")
    return Thumbnail(
        body=body,
        content_type=content_type,
        extension=extension,
        facts=facts,
        reason=reason,
    )


def _checked_undecodable(answer: dict[str, Any]) -> Undecodable:
    code = answer["undecodable"]
    return Undecodable(
        code if isinstance(code, str) and code in UNDECODABLE else "damaged",
        _checked_facts({"carries_more": True, **answer}),
    )


def _checked_facts(answer: dict[str, Any]) -> Facts:
    """Return the facts in an answer. Raises EOFError if they are malformed."""
    reported: dict[str, Any] = {name: answer.get(name) for name in SEEN}
    facts = Facts(**reported)
    size = (facts.width, facts.height)
    counts = [count for count in (*size, facts.pages) if count is not None]
    if (
        not all(_is_count(count) for count in counts)
        or (facts.width is None) != (facts.height is None)
        or (facts.pages is not None and size != (None, None))
        or not (is_duration(facts.duration) and is_thumbhash(facts.thumbhash))
        or not isinstance(facts.carries_more, bool)
    ):
        raise EOFError("the decoder's answer is malformed")
    return facts


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value < 2**31
