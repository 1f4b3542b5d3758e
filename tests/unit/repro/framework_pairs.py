"""Writes pairs of files with the real libraries: run by the environment of frameworks, once for all tests.

    python framework_pairs.py DIRECTORY

Of each pair, `NAME.before.EXT` and `NAME.after.EXT` are two versions of one output.
"""

import contextlib
import copy
import io
import pickle
import sqlite3
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import joblib
import lightgbm
import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import safetensors.numpy
import skl2onnx
import torch
import xgboost
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

HERE = Path(sys.argv[1])
RANDOM = np.random.RandomState(0)
X = RANDOM.randn(300, 8)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def write_arrow(value, path):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.Schema.from_pandas(value)) as writer:
        writer.write_table(pa.Table.from_pandas(value), max_chunksize=2 if "after" in path.name else None)


def before(name):
    stem, _, ending = name.partition(".")
    return HERE / f"{stem}.before.{ending}"


def after(name):
    stem, _, ending = name.partition(".")
    return HERE / f"{stem}.after.{ending}"


def both(name, write, first, second):
    write(first, before(name))
    write(second, after(name))


def nudged(model, name, relative=1e-14):
    """Returns a copy of a model in which an array was changed by a rounding error."""
    other = copy.deepcopy(model)
    setattr(other, name, np.array(getattr(other, name)) * (1 + relative))
    return other


# scikit-learn

texts = ["the cat sat", "a dog barked", "the cat barked", "dogs and cats"] * 5
labels = [0, 1, 0, 1] * 5


def tfidf():
    return make_pipeline(TfidfVectorizer(stop_words=["the", "a"]), SGDClassifier(random_state=0)).fit(
        texts, labels
    )


kept = [tfidf(), tfidf()]
both("tfidf.joblib", joblib.dump, *kept)


def histogram(threads):
    with threadpool_limits(threads):
        return HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(X, Y)


models = [histogram(1), histogram(2)]
models[0]._bin_mapper.n_threads, models[1]._bin_mapper.n_threads = 1, 2
both("histogram.joblib", joblib.dump, *models)

forests = [RandomForestClassifier(5, random_state=seed).fit(X, Y) for seed in (0, 1)]
both("forest.joblib", joblib.dump, *forests)
both(
    "forest_again.pkl",
    lambda model, path: path.write_bytes(pickle.dumps(model, protocol=2 if "before" in path.name else 5)),
    forests[0],
    RandomForestClassifier(5, random_state=0).fit(X, Y),
)

logistic = LogisticRegression().fit(X, Y)
for packing in ("zlib", "gzip", "bz2", "xz", "lzma"):
    both(
        f"logistic_{packing}.joblib",
        lambda model, path, p=packing: joblib.dump(model, path, compress=(p, 3)),
        logistic,
        nudged(logistic, "coef_"),
    )
for protocol in range(6):
    both(
        f"logistic_{protocol}.pkl",
        lambda model, path, p=protocol: path.write_bytes(pickle.dumps(model, protocol=p)),
        logistic,
        nudged(logistic, "coef_"),
    )
both("pca.joblib", joblib.dump, PCA(3).fit(X), nudged(PCA(3).fit(X), "components_"))
both(
    "repacked.joblib",
    lambda model, path: joblib.dump(model, path, compress=3 if "after" in path.name else 0),
    logistic,
    logistic,
)


words = [f"word{number}" for number in range(50)]
both(
    "vocabulary.pkl",
    lambda value, path: path.write_bytes(pickle.dumps(value)),
    {word: i for i, word in enumerate(words)},
    {word: i for i, word in enumerate(reversed(words))},
)
both("word_list.pkl", lambda value, path: path.write_bytes(pickle.dumps(value)), words, words[::-1])
both(
    "word_set.pkl",
    lambda value, path: path.write_bytes(
        b"\x80\x04\x8f(" + b"".join(pickle.dumps(w, protocol=4)[11:-2] for w in value) + b"\x90."
    ),
    words,
    words[::-1],
)

# numpy

array = np.linspace(0.1, 1, 1000).reshape(10, 100)
both("array.npy", lambda value, path: np.save(path, value), array, array * (1 + 1e-13))
both("far.npy", lambda value, path: np.save(path, value), array, array * (1 + 1e-5))
both("order.npy", lambda value, path: np.save(path, value), array, np.asfortranarray(array))
both("shape.npy", lambda value, path: np.save(path, value), array, array[:5])
both(
    "integers.npy",
    lambda value, path: np.save(path, value),
    np.arange(6).reshape(2, 3),
    np.array([[0, 1, 2], [3, 9, 5]]),
)
both("texts.npy", lambda value, path: np.save(path, value), np.array(["a", "bc"]), np.array(["a", "bd"]))
both(
    "objects.npy",
    lambda value, path: np.save(path, value),
    np.array([1, {"a": 2}], object),
    np.array([1, {"a": 3}], object),
)
both("permuted.npy", lambda value, path: np.save(path, value), array, array[::-1])
both(
    "zeros.npy",
    lambda value, path: np.save(path, value),
    np.array([0.0, 1.0, np.nan]),
    np.array([-0.0, 1.0, -np.nan]),
)
both(
    "arrays.npz", lambda value, path: np.savez(path, **value), {"a": array, "b": Y}, {"a": array, "b": 1 - Y}
)
np.savez(before("patch.npz"), a=array)
with zipfile.ZipFile(before("patch.npz")) as source, zipfile.ZipFile(after("patch.npz"), "w") as target:
    # As another patch release of CPython writes it: no 64-bit header, another version.
    target.writestr(zipfile.ZipInfo("a.npy", (2026, 1, 1, 0, 0, 0)), source.read("a.npy"))

# torch

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
state = network.state_dict()
changed = copy.deepcopy(state)
changed["0.weight"] *= 1 + 1e-6
both("checkpoint.pt", torch.save, state, changed)
both("renamed.pt", torch.save, state, state)
both(
    "legacy.pth",
    lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    state,
    changed,
)
both(
    "legacy_again.pth",
    lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    state,
    copy.deepcopy(state),
)
both(
    "transposed.pt",
    torch.save,
    {"w": torch.arange(6.0).reshape(2, 3).t()},
    {"w": torch.arange(6.0).reshape(2, 3).t() + 1},
)
both(
    "half.pt",
    torch.save,
    {"w": torch.ones(3, dtype=torch.bfloat16)},
    {"w": torch.tensor([1, 1.0078125, 1], dtype=torch.bfloat16)},
)
optimizer = torch.optim.Adam(network.parameters())
both(
    "optimizer.pt",
    torch.save,
    {"model": state, "optimizer": optimizer.state_dict(), "epoch": 1},
    {"model": state, "optimizer": optimizer.state_dict(), "epoch": 2},
)
both("whole.pt", torch.save, network, network)

# tables, archives and texts


def write_tar(value, path):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in value.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), int("after" in path.name)
            archive.addfile(info, io.BytesIO(data))


table = pd.DataFrame({"name": ["a", "b", "c"], "price": [1.5, 2.5, 3.5], "count": [1, 2, 3]})
priced = table.assign(price=[1.5, 2.5000000000000004, 3.5])
counted = table.assign(count=[1, 2, 4])
for ending, write in {
    "csv": lambda value, path: value.to_csv(path, index=False),
    "parquet": lambda value, path: value.to_parquet(path),
    "feather": lambda value, path: value.to_feather(path),
    "arrow": write_arrow,
}.items():
    both(f"prices.{ending}", write, table, priced)
    both(f"counts.{ending}", write, table, counted)
    both(f"columns.{ending}", write, table, table.rename(columns={"count": "number"}))
    both(f"sorted.{ending}", write, table, table[::-1].reset_index(drop=True))
    both(f"longer.{ending}", write, table, pd.concat([table, table], ignore_index=True))
both(
    "groups.parquet",
    lambda value, path: value.to_parquet(path, row_group_size=1 if "after" in path.name else None),
    table,
    table,
)
both("table.pkl", lambda value, path: value.to_pickle(path), table.copy(), priced.copy())
both("table.csv.gz", lambda value, path: value.to_csv(path, index=False), table, priced)
both("members.tar", write_tar, {"a.json": b"[1]", "b": b"x"}, {"b": b"x", "a.json": b"[1]"})
both("times.tar.gz", write_tar, {"a.json": b"[1]"}, {"a.json": b"[1]"})
both("changed.tar.gz", write_tar, {"a.json": b"[1]"}, {"a.json": b"[2]"})
both(
    "tensors.safetensors",
    safetensors.numpy.save_file,
    {"w": array, "b": array[0]},
    {"w": array * (1 + 1e-12), "b": array[0]},
)
both(
    "metadata.safetensors",
    lambda value, path: safetensors.numpy.save_file(value, path, {"step": str(len(path.name))}),
    {"w": array},
    {"w": array},
)

# XGBoost and LightGBM


def boosted(rate):
    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2, learning_rate=rate, n_jobs=1)
    return model.fit(X, Y)


for ending in ("json", "ubj"):
    both(f"boosted.{ending}", lambda model, path: model.save_model(path), boosted(0.3), boosted(0.5))
both("boosted.pkl", lambda model, path: path.write_bytes(pickle.dumps(model)), boosted(0.3), boosted(0.5))


def light(rate):
    parameters = {
        "objective": "binary",
        "verbose": -1,
        "num_threads": 1,
        "learning_rate": rate,
        "num_leaves": 4,
    }
    return lightgbm.train(parameters, lightgbm.Dataset(X, Y), num_boost_round=3)


both("light.txt", lambda model, path: model.save_model(path), light(0.1), light(0.2))
# libraries of their own formats

both(
    "digits.onnx",
    lambda model, path: onnx.save(skl2onnx.to_onnx(model, X[:1].astype(np.float32)), path),
    logistic,
    nudged(logistic, "coef_", 1e-4),
)


def swap_opsets(model, path):
    if "after" in path.name:
        opsets = [(item.domain, item.version) for item in model.opset_import]
        del model.opset_import[:]
        model.opset_import.extend(onnx.helper.make_opsetid(*item) for item in reversed(opsets))
    onnx.save(model, path)


exported = skl2onnx.to_onnx(logistic, X[:1].astype(np.float32))
both("opsets.onnx", swap_opsets, exported, exported)


def write_hdf5(value, path):
    with h5py.File(path, "w", track_order=True) as file:
        for name, data in value.items():
            file.create_dataset(name, data=data, track_times="after" in path.name)
        file["layer"].attrs["units"] = 3


both(
    "weights.h5",
    write_hdf5,
    {"layer/w": array, "names": ["a", "b"]},
    {"layer/w": array * (1 + 1e-12), "names": ["a", "b"]},
)
both("times.h5", write_hdf5, {"layer/w": array}, {"layer/w": array})


def write_sqlite(rows, path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("create table prices (name text, price real)")
        database.executemany("insert into prices values (?, ?)", rows)
        if "after" in path.name:
            database.execute("create table more (x)")
            database.execute("drop table more")
        database.commit()


both("same.sqlite", write_sqlite, [("a", 1.5)], [("a", 1.5)])
both("prices.sqlite", write_sqlite, [("a", 1.5), ("b", 2.5)], [("a", 1.5), ("b", 2.6)])
both(
    "config.yaml",
    lambda value, path: path.write_text(value),
    "a: {b: 1.5, c: [x]}\n",
    "# more\na:\n  c: [x]\n  b: 1.50\n",
)
both("values.yaml", lambda value, path: path.write_text(value), "a: {b: 1.5}\n", "a: {b: 2.5}\n")
