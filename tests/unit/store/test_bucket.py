"""What s3fs is told of a bucket's server, and what goes with each object."""

import pytest

from mlvc.store.remote_s3 import BucketFiles, BucketOptions


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


@pytest.mark.parametrize("marker", [{}, {"NextPartNumberMarker": 1}], ids=["none", "the same"])
def test_a_list_of_parts_that_never_ends_is_left(monkeypatch, marker):
    """A server says that there is more, and gives the same part again: what it named counts once."""

    def answer(_files, method, **_arguments):
        if method == "list_multipart_uploads":
            return {"Uploads": [{"Key": "far/pack", "UploadId": "7"}]}
        return {"Parts": [{"PartNumber": 1, "Size": 5, "ETag": "x"}], "IsTruncated": True, **marker}

    monkeypatch.setattr(BucketFiles, "_call", answer)

    assert ("7", {1: (5, "x")}) == BucketFiles("s3://bucket/far", BucketOptions())._unfinished("pack")
