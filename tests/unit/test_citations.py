"""Every section, rule, row or fault that is cited in code, tests or documents exists."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.data.hostile_corpus import SAMPLES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "deploy" / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
HERE = Path(__file__)

CODE = [
    path
    for folder in ("api", "worker", "shared", "deploy", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml", ".example", ".toml") or path.name == "Dockerfile"
    if path != HERE
]
TESTS = [path for path in CODE if path.is_relative_to(ROOT / "tests")]

DOCUMENT = re.compile(r"(?<![\w.*])((?:[\w-]+/)*[\w-]+\.md)\b")
SECTION = re.compile(r"([\w-]+\.md), \"([^\"]+)\"")
NUMBERED = re.compile(
    r"([\w-]+\.md), (rule|invariant) (\d+)|(rule|invariant) (\d+) of ([\w-]+\.md)"
)
ROW = re.compile(r"(?<![A-Za-z0-9])row_?(\d+)(?:_(\d+)(?=_))?")
ROWS = re.compile(r"\brows? ((?:\d+(?: to |, | and )?)+)", re.IGNORECASE)
FAULT = re.compile(r"test_f(\d+)_|\bF(\d{1,2})\b")


BEFORE, AFTER = 100, 200
"""How many characters before and after `.md` can belong to a citation."""


@cache
def text_of(path: Path) -> str:
    """Return the text of a file as one line, without the `#` of comments.

    A citation in a comment or docstring can continue on the next line.
    """
    return re.sub(r"\s+(?:# )?", " ", path.read_text(encoding="utf-8"))


@cache
def around_names(path: Path) -> str:
    """Return the parts of a file's text that can cite a document, one in each line.

    To search the whole text of all files with this module's patterns would take seconds.
    """
    text = text_of(path)
    return "\n".join(
        text[text.rfind(" ", 0, max(at - BEFORE, 0)) + 1 : at + AFTER]  # cut no word at the start
        for at in (match.start() for match in re.finditer(r"\.md\b", text))
    )


@cache
def table(prefix: str) -> frozenset[int]:
    """Return the row numbers of a table in limits.md; `prefix` is the text before each number."""
    text = (DOCS / "limits.md").read_text()
    return frozenset(map(int, re.findall(rf"^\| {prefix}(\d+) \|", text, re.MULTILINE)))


@cache
def headings(page: Path) -> frozenset[str]:
    """Return the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return frozenset(re.findall(r"^#+ (.+)$", text, re.MULTILINE))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub computes for the headings of a page."""
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(page)
    )


def numbered(page: Path, kind: str) -> frozenset[int]:
    """Return the numbers of the numbered list below a page's heading `Rules` or `Invariants`."""
    part = page.read_text().partition(f"\n## {kind.title()}s\n")[2].partition("\n## ")[0]
    return frozenset(map(int, re.findall(r"^(\d+)\. ", part, re.MULTILINE)))


def cited_rows(text: str) -> Iterator[int]:
    """Yield the row numbers that a test cites: `row75`, `test_row57_58_…`, `rows 67 to 89`."""
    for match in ROW.finditer(text):
        yield from (int(number) for number in match.groups() if number)
    for match in ROWS.finditer(text):
        yield from map(int, re.findall(r"\d+", match[1]))


def named(path: Path) -> str:
    """Return a file's path relative to the project, for error messages."""
    return str(path.relative_to(ROOT))


def is_document(name: str) -> bool:
    """Return True if a document with this name exists in one of the folders of documents."""
    folders = (ROOT, ROOT / "deploy", DOCS, DOCS / "decisions")
    return any((folder / name).is_file() for folder in folders)


def is_cited_rightly(match: re.Match[str]) -> bool:
    """Return True if the cited rule or invariant is in the numbered list of the cited page."""
    page, kind, number = match.group(1, 2, 3) if match[1] else match.group(6, 4, 5)
    return is_document(page) and int(number) in numbered(DOCS / page, kind)


def test_a_document_that_code_names_is_there() -> None:
    cited = {(named(path), name) for path in CODE for name in DOCUMENT.findall(around_names(path))}
    assert {name for _, name in cited} >= {"contract.md", "limits.md", "events.md"}
    assert [each for each in sorted(cited) if not is_document(each[1])] == []


def test_a_section_or_rule_that_code_cites_is_there() -> None:
    sections = [
        (named(path), page, section)
        for path in CODE
        for page, section in SECTION.findall(around_names(path))
    ]
    assert sections
    assert [each for each in sections if each[2] not in headings(DOCS / each[1])] == []
    rules = [
        (named(path), match) for path in CODE for match in NUMBERED.finditer(around_names(path))
    ]
    assert rules
    assert [(path, match[0]) for path, match in rules if not is_cited_rightly(match)] == []


def test_a_row_that_a_test_names_is_there_and_every_row_has_a_test() -> None:
    cited = {row: path for path in TESTS for row in cited_rows(path.read_text())}
    cited |= {sample.row: HERE for sample in SAMPLES if sample.row}
    assert {row: named(path) for row, path in cited.items() if row not in table("")} == {}
    assert table("") - cited.keys() == set()


def test_a_fault_that_a_test_names_is_there_and_every_fault_has_a_test() -> None:
    faults = [path for path in TESTS if path.parent.name == "faults"]
    tested = {
        int(match[1]) for path in faults for match in FAULT.finditer(path.read_text()) if match[1]
    }
    other = {
        int(number)
        for path in TESTS
        for number in re.findall(r"[ (]F(\d{1,2})[,:)]", path.read_text())
    }
    assert tested == table("F")
    assert other <= table("F")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_row_or_fault_that_a_page_names_is_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return
    text = page.read_text()
    assert {int(number) for number in re.findall(r"\brow(\d+)", text)} <= table("")
    assert {int(number) for number in re.findall(r"test_f(\d+)", text)} <= table("F")


def linked(page: Path) -> set[Path]:
    """Return the pages to which a page links.

    A link to a folder counts as a link to each page in it.
    """
    targets = re.findall(r"\]\(([^)\s#]+\.md|[^)\s#:]+)(?:#[^)]*)?\)", page.read_text())
    found: set[Path] = set()
    for target in targets:
        place = (page.parent / target).resolve()
        found |= set(place.glob("*.md")) if place.is_dir() else {place}
    return {each for each in found if each.suffix == ".md" and each.is_file()}


def test_every_page_is_at_most_two_links_away_from_the_readme() -> None:
    near = linked(ROOT / "README.md")
    far = near.union(*(linked(page) for page in near))
    assert {named(page) for page in DOCS.rglob("*.md")} - {named(page) for page in far} == set()


PATH = re.compile(r"`((?:api|worker|shared|deploy|tests)/[\w./-]*[\w/])`")
FUNCTION = re.compile(r"`(\w+)` (?:in|of) `([\w/]+\.py)`")
MADE = {"deploy/.env"}
"""Files that documents mention and that an operator creates; the project does not contain them."""


def test_a_path_that_a_page_names_is_there() -> None:
    named_paths = {
        (named(page), path)
        for page in PAGES
        if page.name != "CHANGELOG.md"  # the changelog may name deleted files
        for path in PATH.findall(page.read_text())
    }
    assert named_paths
    gone = [each for each in named_paths if not (ROOT / each[1]).exists() and each[1] not in MADE]
    assert sorted(gone) == []


def test_a_function_that_a_page_places_in_a_file_is_there() -> None:
    placed = {
        (named(page), function, path)
        for page in PAGES
        for function, path in FUNCTION.findall(page.read_text())
    }
    assert placed
    assert [
        each
        for each in sorted(placed)
        if not re.search(
            rf"^ *(?:async )?(?:def|class) {each[1]}\b", (ROOT / each[2]).read_text(), re.MULTILINE
        )
        and not re.search(rf"^{each[1]}\b", (ROOT / each[2]).read_text(), re.MULTILINE)
    ] == []


def test_a_log_line_that_operations_name_is_in_the_code() -> None:
    text = (DOCS / "operations.md").read_text()
    table = text.partition("| line | fields |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    lines = {
        line for cell in cells for line in re.findall(r"`([a-z ]+)`", re.sub(r"\(.*?\)", "", cell))
    }
    assert len(lines) > 8
    code = "".join(path.read_text() for path in CODE if path not in TESTS)
    assert {each for each in lines if f'"{each}"' not in code} == set()
