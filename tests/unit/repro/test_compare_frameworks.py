"""Files that the real libraries write: each pair gives its verdict, and names its place, nature and rule."""

import subprocess
from pathlib import Path

import pytest

from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.windows import Unpacked, Window

pytestmark = pytest.mark.frameworks

ROUNDED = ("close", "$.coef_", "numeric", "")

PAIRS = {
    # scikit-learn, in pickles and joblib's files
    "tfidf.joblib": (
        "equivalent",
        "$.steps[0][1]._stop_words_id",
        "value",
        "sklearn.TfidfVectorizer._stop_words_id",
    ),
    "histogram.joblib": ("equivalent", "$._bin_mapper.n_threads", "value", "*.n_threads"),
    "forest.joblib": ("different", "$.random_state", "value", ""),
    "forest_again.pkl": ("equivalent", "", "container", "pickle.encoding"),
    "pca.joblib": ("close", "$.components_", "numeric", ""),
    "repacked.joblib": ("equivalent", "", "container", "compression"),
    "vocabulary.pkl": ("different", "$", "order", ""),
    "word_list.pkl": ("different", "$", "order", ""),
    "word_set.pkl": ("equivalent", "$", "order", "python.set-order"),
    **{f"logistic_{packing}.joblib": ROUNDED for packing in ("zlib", "gzip", "bz2", "xz", "lzma")},
    **{f"logistic_{protocol}.pkl": ROUNDED for protocol in range(6)},
    # NumPy
    "array.npy": ("close", "", "numeric", ""),
    "far.npy": ("different", "", "numeric", ""),
    "order.npy": ("equivalent", "", "container", "array.memory-order"),
    "shape.npy": ("different", "", "structure", ""),
    "integers.npy": ("different", "[1, 1]", "value", ""),
    "texts.npy": ("different", "[1]", "value", ""),
    "objects.npy": ("different", "$[1].a", "value", ""),
    "permuted.npy": ("different", "", "order", ""),
    "zeros.npy": ("equivalent", "", "numeric", "numbers.same-value"),
    "arrays.npz": ("different", "b[0]", "value", ""),
    "patch.npz": ("equivalent", "", "container", "zip.headers"),
    # torch
    "checkpoint.pt": ("close", "$.0.weight", "numeric", ""),
    "renamed.pt": ("equivalent", "", "container", "torch.archive-root"),
    "transposed.pt": ("different", "$.w", "numeric", ""),
    "half.pt": ("close", "$.w", "numeric", ""),
    "optimizer.pt": ("different", "$.epoch", "value", ""),
    "whole.pt": ("equivalent", "", "container", "torch.archive-root"),
    "legacy.pth": ("close", "$.0.weight", "numeric", ""),
    "legacy_again.pth": ("equivalent", "", "container", "torch.storage-keys"),
    "tensors.safetensors": ("close", "w", "numeric", ""),
    "metadata.safetensors": ("different", "__metadata__.step", "value", ""),
    # tables
    **{
        name: expected
        for ending in ("csv", "parquet", "feather", "arrow")
        for name, expected in {
            f"prices.{ending}": ("close", "column price", "numeric", ""),
            f"counts.{ending}": ("different", "column count row 3", "value", ""),
            f"columns.{ending}": ("different", "column count", "structure", ""),
            f"sorted.{ending}": ("different", "rows", "order", ""),
            f"longer.{ending}": ("different", "rows", "structure", ""),
        }.items()
    },
    "table.csv.gz": ("close", "column price", "numeric", ""),
    "groups.parquet": ("equivalent", "", "container", "arrow.layout"),
    "prices.sqlite": ("different", "prices: column price", "numeric", ""),
    "same.sqlite": ("equivalent", "", "container", "sqlite.pages"),
    # archives and texts
    "members.tar": ("equivalent", "", "order", "tar.order"),
    "times.tar.gz": ("equivalent", "", "container", "tar.headers"),
    "changed.tar.gz": ("different", "a.json: $[0]", "value", ""),
    "config.yaml": ("equivalent", "$.a", "order", "json.key-order"),
    "values.yaml": ("different", "$.a.b", "numeric", ""),
    # XGBoost, LightGBM, ONNX, HDF5
    "boosted.json": (
        "different",
        "$.learner.gradient_booster.model.trees[0].base_weights",
        "numeric",
        "",
    ),
    "boosted.ubj": (
        "different",
        "$.learner.gradient_booster.model.trees[0].base_weights",
        "numeric",
        "",
    ),
    "boosted.pkl": ("different", "$.learning_rate", "numeric", ""),
    "light.txt": ("different", "$.trees[0].leaf_value", "numeric", ""),
    "digits.onnx": ("close", "$.graph.node[0].attribute.coefficients.floats", "numeric", ""),
    "opsets.onnx": ("equivalent", "$.opset_import", "order", "onnx.opset-order"),
    "weights.h5": ("close", "layer.w", "numeric", ""),
    "times.h5": ("equivalent", "", "container", "hdf5.layout"),
}


@pytest.fixture(scope="module")
def pairs(frameworks_python, tmp_path_factory):
    """The directory with all pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    script = Path(__file__).with_name("framework_pairs.py")
    subprocess.run([frameworks_python, "-W", "ignore", script, folder], check=True)
    return folder


def compare(pairs, name, scratch):
    stem, _, ending = name.partition(".")
    with (
        (pairs / f"{stem}.before.{ending}").open("rb") as before,
        (pairs / f"{stem}.after.{ending}").open("rb") as after,
        Unpacked(scratch) as unpacked,
    ):
        return compare_windows(Window.of(before), Window.of(after), unpacked, name=name)


@pytest.mark.parametrize("name", PAIRS)
def test_pair(pairs, tmp_path, name):
    """The first difference is the gravest."""
    told = compare(pairs, name, tmp_path)
    first = told.differences[0]

    assert PAIRS[name] == (told.verdict, first.where, first.nature, first.rule), told.detail
