"""What is kept of files that nobody declared: digests, within limits, and of nothing that could be a secret."""

import os

from mlvc.model.ids import BlobId
from mlvc.verbs.undeclared import digest_undeclared


def test_files_have_the_ids_of_their_bytes(tmp_path):
    """Relative to the project or not, and through links, as the command read them."""
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "link").symlink_to("a")
    outside = tmp_path / "outside"
    outside.write_bytes(b"two")

    found = digest_undeclared(["a", "link", str(outside)], tmp_path)

    one, two = str(BlobId.of(b"one")), str(BlobId.of(b"two"))
    assert {"a": one, "link": one, str(outside): two} == found


def test_what_cannot_be_read_at_once_or_may_be_secret_has_none(tmp_path):
    """A pipe is not waited for, a large file not read, and a short secret not to be guessed."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate((16 << 20) + 1)
    (tmp_path / "directory").mkdir()
    (tmp_path / ".netrc").write_bytes(b"password x")
    (tmp_path / "small").write_bytes(b"x")

    found = digest_undeclared(["missing", "pipe", "large", "directory", ".netrc", "small"], tmp_path)

    assert ["small"] == list(found)


def test_their_sum_and_number_are_limited(tmp_path):
    """Those that fit are kept, in the order of their names."""
    for name in "abcdef":
        with (tmp_path / name).open("wb") as file:
            file.truncate(16 << 20)
    for number in range(300):
        (tmp_path / f"small-{number:03}").write_bytes(b"")
    names = [*"abcdef", *(f"small-{number:03}" for number in range(300))]

    found = list(digest_undeclared(names, tmp_path))

    assert [*"abcd", *(f"small-{number:03}" for number in range(196))] == found
