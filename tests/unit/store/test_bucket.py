"""What s3fs is told of a bucket's server, and what goes with each object."""

import pytest

from mlvc.store.remote_s3 import BucketOptions


@pytest.mark.parametrize(
    ("options", "of_client", "of_object"),
    [
        ({}, {}, {}),
        ({"endpoint": "https://h"}, {}, {}),
        ({"profile": "lab", "region": "eu-1"}, {"region_name": "eu-1"}, {}),
        ({"encryption": "AES256"}, {}, {"ServerSideEncryption": "AES256"}),
        (
            {"encryption": "aws:kms", "encryption_key": "alias/models"},
            {},
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/models"},
        ),
    ],
)
def test_options_are_told_as_the_api_names_them(options, of_client, of_object):
    """Nothing is told of what was not chosen, so that the AWS tools' own settings count."""
    told = BucketOptions(**options)

    assert (of_client, of_object) == (told.of_client(), told.of_object())
