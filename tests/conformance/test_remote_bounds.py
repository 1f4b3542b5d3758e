"""Servers that answer without end: each question is one error, and little of the answer is read."""

import pytest

from mlvc.store import remote_files
from mlvc.store.remote_clouds import CloudFiles
from mlvc.store.remote_files import DirectoryFiles, FilesFound, RemoteFile, RemoteUnreachableError
from mlvc.store.remote_s3 import BucketFiles, BucketOptions
from mlvc.store.remote_ssh import SshFiles
from tests.support.flood import serve_flood

LISTING = b"<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>far/"
KEYS = b"<Contents><Key>far/gc/0</Key><Size>1</Size></Contents>"
READ_BYTES = 64 << 20
"""What buffers of sockets hold is sent, and never read."""


@pytest.fixture
def bucket(monkeypatch):
    """Opens a bucket of a server."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    for name in ("AWS_PROFILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)

    def open_bucket(flood):
        return BucketFiles("s3://models/far", BucketOptions(endpoint=flood.endpoint, region="us-east-1"))

    return open_bucket


@pytest.mark.parametrize("body", [b"k", KEYS], ids=["one giant key", "keys without end"])
def test_a_page_of_a_bucket_is_not_read_without_end(bucket, body):
    """A thousand keys are the most that S3 has in a page; the error names the remote and the question."""
    with serve_flood(LISTING, body) as flood:
        with pytest.raises(RemoteUnreachableError, match=r"s3://models/far .*GET .*/models"):
            bucket(flood).list()

        assert 1 == flood.asked
        assert flood.sent_bytes < READ_BYTES


@pytest.mark.parametrize(
    ("status", "call"),
    [
        ("200 OK", lambda files: files.write("gc/one", b"")),
        ("200 OK", lambda files: files.remove(["gc/one"])),
        ("200 OK", lambda files: files._unfinished("data/one")),
        ("403 Forbidden", lambda files: files.write("gc/one", b"")),
        ("404 Not Found", lambda files: b"".join(files.read("gc/one", 100))),
    ],
    ids=["put", "delete", "list uploads", "refusal", "missing"],
)
def test_no_other_answer_of_a_bucket_is_read_without_end(bucket, status, call):
    """Of what was asked for in ranges, no more is read than that; of anything else, 4 MiB."""
    with serve_flood(b"<?xml version='1.0'?><Error><Message>", b"m", status) as flood:
        with pytest.raises(RemoteUnreachableError, match=r"s3://models/far .* longer than 4,194,304 bytes"):
            call(bucket(flood))

        assert 1 == flood.asked
        assert flood.sent_bytes < READ_BYTES


@pytest.fixture
def azure(monkeypatch):
    """Opens a container of a server."""

    def open_container(flood):
        monkeypatch.setenv(
            "AZURE_STORAGE_CONNECTION_STRING",
            f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=bm9ib2R5;BlobEndpoint={flood.endpoint}/a",
        )
        return CloudFiles("az://models/far")

    return open_container


def test_a_listing_of_google_is_not_read_without_end(monkeypatch):
    """As of S3."""
    with serve_flood(b'{"kind": "', b"k") as flood:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", flood.endpoint)
        with pytest.raises(RemoteUnreachableError, match=r"gs://models/far .*longer than 17,825,792 bytes"):
            CloudFiles("gs://models/far").list()

        assert flood.sent_bytes < READ_BYTES


def test_a_listing_of_azure_is_not_read_without_end(azure):
    """As of the others."""
    with serve_flood(b"<?xml version='1.0'?><EnumerationResults><Blobs><Blob><Name>", b"n") as flood:
        with pytest.raises(RemoteUnreachableError, match=r"az://models/far .*longer than 17,825,792 bytes"):
            azure(flood).list()

        assert flood.sent_bytes < READ_BYTES


LONGER = r"longer than 1,048,676 bytes"


def test_a_range_of_google_is_not_read_without_end(monkeypatch):
    """Beyond what was asked for, no more than an error may have."""
    with serve_flood(b"") as flood:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", flood.endpoint)
        with pytest.raises(RemoteUnreachableError, match=rf"gs://models/far .*{LONGER}"):
            b"".join(CloudFiles("gs://models/far").read("data/one", 100))

        assert flood.sent_bytes < READ_BYTES


@pytest.mark.parametrize("status", ["206 Partial Content", "200 OK"])
def test_a_range_of_azure_is_not_read_without_end(azure, status):
    """A server that says that it sends the range, and sends more: its library reads that by a way of its own."""
    headers = ["Content-Range: bytes 50-149/1000", "x-ms-blob-type: BlockBlob"]
    with serve_flood(b"", status=status, headers=headers) as flood:
        with pytest.raises(RemoteUnreachableError, match=rf"az://models/far .*{LONGER}"):
            b"".join(azure(flood).read("data/one", 100, 50))

        assert 1 == flood.asked
        assert flood.sent_bytes < READ_BYTES


def test_a_server_of_azure_that_ignores_ranges_is_one_error(azure):
    """It sends the whole, which nobody asked for; credentials are not what is wrong with it."""
    with serve_flood(b"") as flood:
        with pytest.raises(
            RemoteUnreachableError, match=r"az://models/far answers otherwise .*Content-Range"
        ):
            b"".join(azure(flood).read("data/one", 100, 50))

        assert flood.sent_bytes < READ_BYTES


def test_names_without_end_are_an_error(monkeypatch):
    """What is listed is held; a remote that lists more than any has is not."""
    monkeypatch.setattr(remote_files, "_MOST_FILES", 1_000)
    found = FilesFound("s3://models/far")
    for number in range(1_000):
        found.note(f"data/{number}", RemoteFile(1, 0.0))

    with pytest.raises(RemoteUnreachableError, match=r"s3://models/far lists more than 1,000 files"):
        found.note("data/one", RemoteFile(1, 0.0))


@pytest.fixture(params=["directory", pytest.param("ssh", marks=pytest.mark.ssh)])
def folder_and_files(request, tmp_path, home):
    """A directory, and what reads it as a remote."""
    if request.param == "directory":
        return tmp_path / "far", DirectoryFiles(tmp_path / "far")
    request.getfixturevalue("ssh_server").introduce(home)
    return tmp_path / "far", SshFiles(f"ssh://far{tmp_path}/far")


def test_what_is_no_file_of_a_remote_is_not_listed(folder_and_files):
    """A wrong path, such as that of a folder of pictures, may have millions of names."""
    folder, files = folder_and_files
    files.prepare()
    files.write("data/one", b"x")
    for place in ("", "data", "others"):
        (folder / place).mkdir(exist_ok=True)
        (folder / place / ("n" * 130)).write_bytes(b"")
        (folder / place / "picture.png").write_bytes(b"")

    assert {"data/one", "data/picture.png"} == set(files.list())
