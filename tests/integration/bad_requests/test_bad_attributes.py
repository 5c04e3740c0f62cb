"""Invalid attributes: the error names each broken rule in the words of the contract."""

from typing import Any

import pytest

from tests.data.bad_bodies import MAX_SIZE, document
from tests.support.bad_requests import BULK, PATH, Target, assert_refused


async def test_every_fault_has_the_words_of_the_contract(untouched: Target) -> None:
    answer = await untouched.client.request(
        "POST",
        PATH,
        document(
            name="",
            attachable_type="",
            size=MAX_SIZE + 1,
            content_type="application/x-msdownload",
            attachable_id=True,
        ),
    )
    assert_refused(answer, 422)
    assert [
        (error["source"]["pointer"], error["detail"], error["meta"])
        for error in answer.document["errors"]
    ] == [
        ("data/attributes/name", "can't be blank", {}),
        (
            "data/attributes/attachable_type",
            "is not included in the list",
            {"allow_nil": True, "value": ""},
        ),
        (
            "data/attributes/size",
            f"must be less than or equal to {MAX_SIZE}",
            {"allow_nil": True, "value": MAX_SIZE + 1, "count": MAX_SIZE},
        ),
        (
            "data/attributes/content_type",
            "is reserved",
            {"value": "application/x-msdownload"},
        ),
        (
            "data/attributes/attachable_id",
            "is not a number",
            {"allow_nil": True, "value": True},
        ),
    ]


@pytest.mark.parametrize(
    "faulty",
    [
        pytest.param(document(name="")["data"], id="row11-bulk-blank-name"),
        pytest.param(document(size=-1)["data"], id="row28-bulk-negative"),
    ],
)
async def test_one_bad_resource_of_a_bulk_refuses_all(untouched: Target, faulty: Any) -> None:
    answer = await untouched.client.request(
        "POST",
        PATH,
        {"data": [document()["data"], faulty]},
        headers={"Content-Type": BULK, "Accept": BULK},
    )
    assert_refused(answer, 422)
    assert answer.document["errors"][0]["source"]["pointer"].startswith("data/1/attributes/")
