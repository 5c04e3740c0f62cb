"""Check every value of a decoder's answer, because hostile code may have written it."""

from collections.abc import Sequence
from typing import Any

from shared.errors import AttachmentsError, Undecodable
from shared.facts import Facts, Picture, Thumbnail, is_duration, is_thumbhash
from shared.reasons import UNDECODABLE
from worker.decoding.protocol import SEEN, Film, max_bytes


class RangeWanted(AttachmentsError):
    """The decoder needs the bytes of a film from `start` to `end`, which is excluded."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(start, end)
        self.start, self.end = start, end


def checked(
    answer: Any, body: bytes, job: str, edges: Sequence[int], film: Film | None = None
) -> Thumbnail:
    """Return the thumbnails in the answer to a job, one for each of `edges`.

    Raises EOFError if the answer is malformed, Undecodable if it reports a fault of the file, and
    RangeWanted if it asks for a range of a `film`.
    """
    if not isinstance(answer, dict):
        raise EOFError("the decoder's answer is not an object")
    if answer.get("job") != job:
        raise EOFError("the decoder's answer is to another job")
    if film is not None and "range" in answer:
        raise _checked_range(answer["range"], film)
    if "undecodable" in answer:
        raise _checked_undecodable(answer)
    facts, reason = _checked_facts(answer), answer.get("reason")
    if (
        (facts.width is None and facts.pages is None)  # neither an image nor a document
        or reason not in (None, "damaged")
    ):
        raise EOFError("the decoder's answer is malformed")
    pictures = _checked_pictures(answer.get("pictures"), body, edges)
    return Thumbnail(pictures=pictures, facts=facts, reason=reason)


def _checked_range(asked: Any, film: Film) -> RangeWanted:
    match asked:
        case [int(start), int(end)] if (
            type(start) is type(end) is int and 0 <= start < end <= film.size and not film.final
        ):
            return RangeWanted(start, end)
    raise EOFError("the decoder's answer is malformed")


def _checked_pictures(described: Any, body: bytes, edges: Sequence[int]) -> tuple[Picture, ...]:
    """Return the pictures, whose bytes follow each other in `body`. Raises EOFError."""
    if not isinstance(described, list) or len(described) != len(edges):
        raise EOFError("the decoder's answer has a wrong number of thumbnails")
    pictures, start = [], 0
    for each, edge in zip(described, edges, strict=True):
        if not isinstance(each, dict) or not _is_picture(each, edge):
            raise EOFError("the decoder's answer is malformed")
        end = start + each["length"]
        pictures.append(
            Picture(
                body=body[start:end],
                content_type=each["content_type"],
                extension=each["extension"],
                width=each["width"],
                height=each["height"],
            )
        )
        start = end
    if start != len(body):
        raise EOFError("the thumbnails do not have the length in the decoder's answer")
    return tuple(pictures)


def _is_picture(described: dict[str, Any], edge: int) -> bool:
    numbers = [described.get(name) for name in ("length", "width", "height")]
    return (
        all(_is_count(number) for number in numbers)
        and described["length"] <= max_bytes([edge])
        and max(described["width"], described["height"]) <= edge
        and described.get("content_type") in ("image/jpeg", "image/png", "image/webp")
        and described.get("extension", "") in (None, "png", "jpg")
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
