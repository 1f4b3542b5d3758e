"""What s3fs is told of a bucket's server."""

import pytest

from mlvc.store.remote_files import BucketOptions


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, {}),
        ({"endpoint": "https://h"}, {"endpoint_url": "https://h"}),
        ({"profile": "lab", "region": "eu-1"}, {"profile": "lab", "client_kwargs": {"region_name": "eu-1"}}),
        ({"encryption": "AES256"}, {"s3_additional_kwargs": {"ServerSideEncryption": "AES256"}}),
        (
            {"encryption": "aws:kms", "encryption_key": "alias/models"},
            {"s3_additional_kwargs": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/models"}},
        ),
    ],
)
def test_options_are_told_as_s3fs_names_them(options, told):
    """Nothing is told of what was not chosen, so that the AWS tools' own settings count."""
    assert told == BucketOptions(**options).arguments()
