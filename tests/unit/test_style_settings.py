"""The setting ATTACHMENTS_STYLES: the styles that it names, and the rules that it must keep."""

import pytest

from shared.settings import load_part
from shared.style_settings import MAX_STYLES, RetrySettings
from tests.support.settings import VALID, faults_of, load_with

ENTRY = "must be a name and a number of pixels, such as medium:1024"


@pytest.mark.parametrize(
    ("words", "edges"),
    [
        ("", {"thumb": 320}),
        ("thumb:320", {"thumb": 320}),
        ("medium:1024", {"thumb": 320, "medium": 1024}),
        (" large:2048 , thumb:320 , x:16 ", {"thumb": 320, "large": 2048, "x": 16}),
        ("a_b-9:320,", {"thumb": 320, "a_b-9": 320}),
        (f"{'a' * 32}:100", {"thumb": 320, "a" * 32: 100}),
    ],
)
def test_thumb_is_always_the_first_style(
    environment: pytest.MonkeyPatch, words: str, edges: dict[str, int]
) -> None:
    found = load_with(environment, STYLES=words).edges
    assert list(found.items()) == list(edges.items())


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("medium", f"entry 1 {ENTRY}"),
        ("medium:", f"entry 1 {ENTRY}"),
        (":1024", f"entry 1 {ENTRY}"),
        ("medium:1024px", f"entry 1 {ENTRY}"),
        ("medium:0100", f"entry 1 {ENTRY}"),
        ("medium:-1", f"entry 1 {ENTRY}"),
        ("medium:1e3", f"entry 1 {ENTRY}"),
        ("medium:٣٢٠", f"entry 1 {ENTRY}"),
        ("x:100,Medium:1024", f"entry 2 {ENTRY}"),
        ("1x:1024", f"entry 1 {ENTRY}"),
        ("-x:1024", f"entry 1 {ENTRY}"),
        ("a/b:1024", f"entry 1 {ENTRY}"),
        ("..:1024", f"entry 1 {ENTRY}"),
        ("a.b:1024", f"entry 1 {ENTRY}"),
        (f"{'a' * 33}:1024", f"entry 1 {ENTRY}"),
        ("original:1024", "entry 1: original cannot be the name of a style"),
        ("thumb:640", "entry 1: thumb always has 320 pixels"),
        ("thumb:320,thumb:320", "entry 2 repeats a name"),
        ("x:100,y:200,x:300", "entry 3 repeats a name"),
        ("x:15", "entry 1 must have 16 to 2048 pixels"),
        ("x:2049", "entry 1 must have 16 to 2048 pixels"),
        (
            ",".join(f"x{number}:100" for number in range(MAX_STYLES)),
            f"must have at most {MAX_STYLES} styles, thumb included",
        ),
        (",,", "has commas, but no entry between them"),
    ],
)
def test_a_broken_rule_is_named_with_its_entry(
    environment: pytest.MonkeyPatch, words: str, rule: str
) -> None:
    (sent,) = faults_of(environment, STYLES=words)
    assert sent.startswith(f"ATTACHMENTS_STYLES: {rule}")
    assert ";" not in sent.replace("medium:1024;", "")


def test_all_broken_rules_are_reported_at_once_beside_those_of_other_settings(
    environment: pytest.MonkeyPatch,
) -> None:
    sent = faults_of(environment, STYLES="x:1,original:100,x:100,secret", MAX_SIZE="0")
    assert [line.partition(":")[0] for line in sent] == [
        "ATTACHMENTS_STYLES",
        "ATTACHMENTS_MAX_SIZE",
    ]
    rules = sent[0].partition(": ")[2].split("; ")
    assert [rule.split()[:2] for rule in rules] == [
        ["entry", "1"],
        ["entry", "2:"],
        ["entry", "3"],
        ["entry", "4"],
        ["the", "name"],
    ]
    assert "secret" not in sent[0]


def test_the_maximum_number_of_styles_is_allowed(environment: pytest.MonkeyPatch) -> None:
    words = ",".join(f"x{number}:2048" for number in range(MAX_STYLES - 1))
    assert len(load_with(environment, STYLES=f"{words},thumb:320").edges) == MAX_STYLES


def test_the_command_retry_reads_the_same_styles(environment: pytest.MonkeyPatch) -> None:
    for name, value in {**VALID, "STYLES": "medium:1024"}.items():
        environment.setenv(f"ATTACHMENTS_{name}", value)
    assert load_part(RetrySettings).edges == {"thumb": 320, "medium": 1024}
