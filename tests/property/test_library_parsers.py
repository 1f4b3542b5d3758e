"""The formats that libraries in C read: whatever is in a file, the comparison of two ends with a verdict.

The libraries work in a process of their own, with limits of memory and of time. It starts anew for each pair, so there
are few examples; more with --hypothesis-profile=deep.
"""

import functools
import io
import signal
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.windows import Unpacked, Window
from tests.support.damage import damaged

# A child for each takes half a second.
FEW = settings(max_examples=max(6, settings.default.max_examples // 20), deadline=None)


def _parquet(rows):
    import pyarrow as pa  # noqa: PLC0415  # an extra
    from pyarrow import parquet  # noqa: PLC0415  # likewise

    table = pa.table({"n": rows, "text": [str(row) for row in rows], "list": [[row] for row in rows]})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _feather(rows):
    import pyarrow as pa  # noqa: PLC0415  # an extra
    from pyarrow import feather  # noqa: PLC0415  # likewise

    buffer = io.BytesIO()
    feather.write_feather(pa.table({"n": rows, "text": [str(row) for row in rows]}), buffer)
    return buffer.getvalue()


def _hdf5(rows):
    import h5py  # noqa: PLC0415  # an extra

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("group/packed", data=rows, compression="gzip", chunks=(2,))
        file["group"].attrs["name"] = "text"
        file["texts"] = [str(row) for row in rows]
    return buffer.getvalue()


def _onnx(rows):
    from onnx import TensorProto, helper  # noqa: PLC0415  # an extra

    values = helper.make_tensor("w", TensorProto.FLOAT, [len(rows)], rows)
    place = helper.make_tensor_value_info("x", TensorProto.FLOAT, [len(rows)])
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    graph = helper.make_graph([node], "g", [place], [], [values])
    return helper.make_model(graph).SerializeToString()


def _sqlite(rows):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, x REAL, text TEXT)")
    connection.execute("CREATE INDEX i ON t (text)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [(row, row / 2, str(row)) for row in rows])
    connection.commit()
    return connection.serialize()


MAKERS = {"a.parquet": _parquet, "a.feather": _feather, "a.h5": _hdf5, "a.onnx": _onnx, "a.sqlite": _sqlite}


@functools.cache
def examples(name):
    """Two valid files with other rows."""
    return tuple(MAKERS[name](rows) for rows in ([1, 2, 3], [1, 2, 4, 5]))


def compare(name, before, after):
    """Compares as `mlvc repro` does, with all limits; returns the verdict."""
    with tempfile.TemporaryDirectory() as folder, Unpacked(Path(folder), most_bytes=1 << 20) as unpacked:
        windows = [Window.of(io.BytesIO(data)) for data in (before, after)]
        return compare_windows(*windows, unpacked, name=name).verdict


@pytest.mark.parametrize("name", MAKERS)
def test_examples_are_compared(name):
    """What is damaged below is right before, and the library is there."""
    assert "different" == compare(name, *examples(name))


@pytest.mark.parametrize("name", MAKERS)
@FEW
@given(data=st.data())
def test_damaged_files_have_a_verdict(name, data):
    """No exception, whatever the library does in its process; bytes that differ are never called the same."""
    changed = data.draw(damaged(examples(name)))
    assume(changed not in examples(name))

    verdict = compare(name, examples(name)[0], changed)

    assert verdict in {"equivalent", "close", "different", "uncomparable"}


@pytest.mark.parametrize(
    "crash",
    [
        f"os.kill(os.getpid(), {signal.SIGSEGV.value})",
        f"os.kill(os.getpid(), {signal.SIGKILL.value})",
        "os._exit(0)",
        "os.abort()",
        "bytearray(1 << 40)",
        "raise SystemError('from C')",
        "sys.exit('x')",
        "os.write(1, b'\\xff' * 100_000)",
        """os.write(1, b'{"difference": {"where": 1, "nature": "numeric", "norm": "x"}}\\n{"done": true}\\n')""",
        """os.write(1, b'{"done": true'); os._exit(0)""",
        """os.write(1, b'[' * 1_000_000); os._exit(0)""",
    ],
)
def test_a_library_that_crashes_makes_two_files_uncomparable(tmp_path, monkeypatch, crash):
    """Not the same, not different, and no traceback: a stand-in for h5py does what damaged memory may do."""
    (tmp_path / "h5py.py").write_text(f"import os, sys\n{crash}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert "uncomparable" == compare("a.h5", *(b"\x89HDF\r\n\x1a\n" + bytes([number]) for number in range(2)))
