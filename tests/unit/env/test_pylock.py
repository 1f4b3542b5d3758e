import tomllib

import pytest

from mlvc.env.pylock import encode
from mlvc.model.ids import BlobId
from mlvc.model.objects import Distribution, Environment, Interpreter

PYTHON = Interpreter("/v/bin/python", "/usr/bin/python3.11", "3.11.2", "cpython", "3.11.2 (x)", "/v", "/usr")


def environment(*distributions):
    return Environment(PYTHON, {}, "", distributions)


def test_pylock_is_what_the_standard_asks_for():
    """The reference implementation accepts it, and finds the names, hashes and paths."""
    pylock = pytest.importorskip("packaging.pylock", reason="NOT TESTED: packaging is older than pylock")
    text = encode(
        environment(
            Distribution("My.Dist", "1.0", BlobId(bytes(32)), "My_Dist-1.0-py3-none-any.whl", "0" * 64, 10),
            Distribution(
                "public",
                "2",
                BlobId(bytes(32)),
                "public-2-py3-none-any.whl",
                "1" * 64,
                10,
                public_url="https://files.example/public-2-py3-none-any.whl",
                public_sha256="2" * 64,
            ),
            Distribution(
                "own", "0", BlobId(bytes(32)), "own-0-py3-none-any.whl", "3" * 64, 10, editable='a "b"'
            ),
        )
    )

    lock = pylock.Pylock.from_dict(tomllib.loads(text))
    first, second, third = lock.packages

    assert (first.name, str(first.version)) == ("my-dist", "1.0")
    assert first.wheels[0].path == "wheels/My_Dist-1.0-py3-none-any.whl"
    assert first.wheels[0].hashes == {"sha256": "0" * 64}
    assert second.wheels[0].url == "https://files.example/public-2-py3-none-any.whl"
    assert second.wheels[0].hashes == {"sha256": "2" * 64}
    assert (third.directory.path, third.directory.editable) == ('a "b"', True)


def test_an_environment_without_packages_is_a_valid_pylock():
    """The list of packages must be there even if it is empty."""
    assert tomllib.loads(encode(environment()))["packages"] == []
