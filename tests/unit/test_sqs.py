"""The service reads the region and the host from the address of an SQS queue."""

import pytest

from worker.queue.sqs import region_of


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs.eu-central-1.api.aws", "eu-central-1"),
        ("vpce-0a1b-2c3d.sqs.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("us-east-2.queue.amazonaws.com", "us-east-2"),
        ("queue.amazonaws.com", None),
        ("localhost", None),
        ("127.0.0.1", None),
        ("notsqs.eu-west-1.example.com", None),
    ],
)
def test_the_host_of_a_queue_names_its_region(host: str, region: str | None) -> None:
    assert region_of(host) == region
