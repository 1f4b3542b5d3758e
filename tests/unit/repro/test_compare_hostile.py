"""Files made to hurt whoever reads them: nothing in them is executed, and memory stays bounded."""

import io
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from mlvc.model.objects import VERDICTS
from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.windows import Unpacked, Window

ANSWERED = {"equivalent", "close", "different", "uncomparable"}


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """What comparing all of them gave, in a process with little memory, under an audit hook."""
    folder = tmp_path_factory.mktemp("hostile")
    script = Path(__file__).with_name("hostile_files.py")
    done = subprocess.run([sys.executable, script, folder], check=False, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout), folder


def test_every_file_has_a_verdict(watched):
    """No exception leaves the comparison, whatever the file says about its lengths, depths and references."""
    answer, _ = watched

    assert len(answer["verdicts"]) > 70
    assert {verdict for told in answer["verdicts"].values() for verdict in told} <= ANSWERED


def test_nothing_is_executed(watched):
    """No process, no socket, no import of what a file names, and no marker that a file would have made."""
    answer, folder = watched

    assert [] == answer["happened"]
    assert [] == list(folder.iterdir())


@pytest.mark.parametrize(
    "name", ["system.pkl", "eval.pkl", "new_object.pkl", "aliases_of_aliases.pkl", "itself.pkl"]
)
def test_a_malicious_pickle_is_compared_as_data(watched, name):
    """Two that hold the same, in other bytes, are equivalent; another one is different."""
    assert ["different", "equivalent"] == watched[0]["verdicts"][name]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.h5", "a.sqlite", "a.onnx"])
def test_a_library_that_cannot_read_a_file_takes_nothing_with_it(tmp_path, name):
    """The libraries in C work in a process of their own, with a limit of memory."""
    start = {
        "a.parquet": b"PAR1",
        "a.arrow": b"ARROW1\0\0",
        "a.h5": b"\x89HDF\r\n\x1a\n",
        "a.sqlite": b"SQLite format 3\0",
        "a.onnx": b"\x08\x07",
    }[name]
    data = [start + random.Random(seed).randbytes(5000) + start[:4] for seed in (1, 2)]

    assert "uncomparable" == compare(tmp_path, *data, name=name).verdict


@pytest.mark.parametrize(
    ("library", "name", "before", "after"),
    [
        ("numpy", "a.npy", "1.0", "2.0"),
        ("pyarrow", "a.parquet", "PAR1", "PAR1"),
        ("h5py", "a.h5", "\x89HDF\r\n\x1a\n", "\x89HDF\r\n\x1a\n"),
    ],
)
def test_without_the_libraries(tmp_path, library, name, before, after):
    """A comparison that needs one says what to install."""
    if library == "numpy":
        head = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}"
        files = [
            b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head.encode() + bytes([7, seed]) * 4
            for seed in (1, 2)
        ]
    else:
        files = [text.encode("latin-1") + bytes([seed]) * 20 for seed, text in ((1, before), (2, after))]
    for number, data in enumerate(files):
        (tmp_path / str(number)).write_bytes(data)
    # A directory first on the path, in which the library is there and cannot be imported.
    (tmp_path / f"{library}.py").write_text(f"raise ModuleNotFoundError('no', name={library!r})\n")
    program = f"""
from pathlib import Path
from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.windows import Unpacked, Window
with open({str(tmp_path / "0")!r}, "rb") as a, open({str(tmp_path / "1")!r}, "rb") as b:
    with Unpacked(Path({str(tmp_path)!r})) as unpacked:
        told = compare_windows(Window.of(a), Window.of(b), unpacked, name={name!r})
print(told.verdict, told.detail)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )

    assert done.stdout.startswith("uncomparable")
    assert f"{library} is not installed here: install mlvc[formats]" in done.stdout


def compare(tmp_path, before, after, *, name):
    with Unpacked(tmp_path) as unpacked:
        left, right = (Window.of(io.BytesIO(data)) for data in (before, after))
        told = compare_windows(left, right, unpacked, name=name)
    assert told.verdict in VERDICTS
    return told
