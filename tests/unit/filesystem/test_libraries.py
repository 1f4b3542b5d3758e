"""The libraries that read tables and models, through `mlvc://`, from a clone that has nothing of the data."""

import subprocess
import sys

import duckdb
import fsspec
import pandas as pd
import polars
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest

import mlvc
from mlvc.filesystem import MlvcFileSystem
from tests.support.command import Mlvc

ROWS = 200_000
PARQUET = "data/table.parquet"

TORCH = """
import sys, sysconfig

sys.path.append(sys.argv[2])  # Behind our own packages, which are of the same Python.
import mlvc, torch

with mlvc.open("data/model.pt", repo=sys.argv[1]) as file:
    state = torch.load(file, weights_only=True)
print(float(state["weight"].sum()))
"""

LOADER = """
import sys

sys.path.append(sys.argv[2])
import fsspec, mlvc
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    def __init__(self, repo):
        self.file = mlvc.open("data/rows.bin", repo=repo)
        self.files = fsspec.filesystem("mlvc", repo=repo)
        self.file.seek(8)

    def __len__(self):
        return 100

    def __getitem__(self, number):
        first = number == 0 and self.file.tell() or 0
        self.file.seek(8 * number)
        row = int.from_bytes(self.file.read(8), "little")
        return first, row, self.files.info("data/rows.bin")["size"]


if __name__ == "__main__":
    loader = DataLoader(Rows(sys.argv[1]), batch_size=10, num_workers=2, multiprocessing_context="spawn")
    firsts, rows, sizes = zip(*loader)
    print(sum(int(x.sum()) for x in firsts), sum(int(x.sum()) for x in rows), {int(y) for x in sizes for y in x})
"""


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(
        {
            "number": range(ROWS),
            "name": [f"row {n % 977}" for n in range(ROWS)],
            "half": [n / 2 for n in range(ROWS)],
        }
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory, frame):
    """A git clone whose data is on a remote alone; its packs of the store grow from test to test."""
    folder = tmp_path_factory.mktemp("libraries")
    (folder / "repo" / "data").mkdir(parents=True)

    def git(*arguments, cwd=folder / "repo"):
        subprocess.run(["git", *arguments], cwd=cwd, check=True)

    git("init", "--quiet")
    git("config", "user.name", "Test User")
    git("config", "user.email", "test@example.org")
    frame.to_csv(folder / "repo" / "data" / "table.csv", index=False)
    frame.to_parquet(folder / "repo" / PARQUET, row_group_size=20_000)
    run = Mlvc(cwd=folder / "repo")
    run("init")
    run("add", "data")
    run("commit", "-m", "data")
    run("remote", "add", "team", folder / "far")
    run("push")
    git("clone", "--quiet", folder / "repo", folder / "clone", cwd=folder)
    Mlvc(cwd=folder / "clone")("remote", "add", "team", folder / "far")
    return folder / "clone"


def test_pandas(clone, frame):
    """By URL, CSV and Parquet."""
    options = {"repo": str(clone), "rev": "HEAD"}

    assert frame.equals(pd.read_csv("mlvc://data/table.csv", storage_options=options))
    assert frame.equals(pd.read_parquet(f"mlvc://{PARQUET}", storage_options=options))


def test_polars(clone, frame):
    """From an open file, a part of the columns."""
    with mlvc.open(PARQUET, repo=clone) as file:
        assert frame["half"].sum() == polars.read_parquet(file, columns=["half"])["half"].sum()
    with mlvc.open("data/table.csv", repo=clone) as file:
        assert (ROWS, 3) == polars.read_csv(file).shape


def test_pyarrow(clone, frame):
    """As a dataset, of which a filter reads a part."""
    files = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(MlvcFileSystem(clone)))
    dataset = pyarrow.dataset.dataset(PARQUET, filesystem=files)

    part = dataset.to_table(columns=["half"], filter=pyarrow.dataset.field("number") < 10)

    assert list(frame["half"][:10]) == part["half"].to_pylist()
    assert ROWS == pyarrow.parquet.read_metadata(PARQUET, filesystem=files).num_rows


@pytest.fixture
def switching():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_duckdb(clone, frame):
    """By SQL, through the registered file system, from several threads that share one file."""
    for _ in range(5):
        connection = duckdb.connect()
        connection.execute("SET threads = 8")
        connection.register_filesystem(fsspec.filesystem("mlvc", repo=str(clone)))
        ((total,),) = connection.sql(f"SELECT sum(number) FROM 'mlvc://{PARQUET}'").fetchall()
        assert frame["number"].sum() == total


@pytest.fixture
def frameworks_packages(frameworks_python):
    """Where the packages are that the environment of frameworks has."""
    return subprocess.run(
        [frameworks_python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.mark.frameworks
def test_torch(clone, frameworks_python, frameworks_packages):
    """A checkpoint is loaded from the open file."""
    folder = clone.parent / "repo"
    train = "import torch; torch.save({'weight': torch.arange(1000.0)}, 'data/model.pt')"
    subprocess.run([frameworks_python, "-c", train], cwd=folder, check=True)
    run = Mlvc(cwd=folder)
    run("add", "data")

    done = subprocess.run(
        [sys.executable, "-c", TORCH, folder, frameworks_packages], check=True, capture_output=True, text=True
    )

    assert "499500.0\n" == done.stdout


@pytest.mark.frameworks
def test_the_workers_of_a_data_loader(clone, frameworks_packages, tmp_path):
    """Each gets the open file, at its position, and the file system, and reads for itself."""
    folder = clone.parent / "repo"
    (folder / "data" / "rows.bin").write_bytes(
        b"".join(number.to_bytes(8, "little") for number in range(100))
    )
    Mlvc(cwd=folder)("add", "data")
    (tmp_path / "loader.py").write_text(LOADER)

    done = subprocess.run(
        [sys.executable, tmp_path / "loader.py", folder, frameworks_packages],
        check=True,
        capture_output=True,
        text=True,
    )

    assert "8 4950 {800}\n" == done.stdout
