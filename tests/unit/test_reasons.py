"""The contract's table of reason codes agrees with the code."""

from pathlib import Path
from typing import get_args

import pytest

from shared.reasons import REASONS, UNDECODABLE, ReasonCode, sentence

CONTRACT = Path(__file__).parents[2] / "deploy/docs/contract.md"


def documented() -> dict[str, list[str]]:
    """Return the sentence, the state and the retry rule of each reason code in the contract's
    table.
    """
    lines = CONTRACT.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| `meta.reason.code`"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        code, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[code.strip("`")] = cells
    return rows


def test_every_reason_is_documented_and_no_other() -> None:
    assert list(documented()) == list(REASONS)
    assert sorted(REASONS) == sorted(get_args(ReasonCode))


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_is_documented_as_it_is(code: ReasonCode) -> None:
    printed, state, again = documented()[code]
    state = state.partition(";")[0]  # the text after ";" is about optional scanning
    assert printed == REASONS[code].sentence == sentence(code)
    assert (again == "no") is REASONS[code].final
    assert (state == "ready") is (code in {*UNDECODABLE, "decoder_died"})
    assert (state == "failed") is (not REASONS[code].final and code != "decoder_died")
    assert (state == "rejected") is (REASONS[code].final and code not in UNDECODABLE)
