"""Looks at Python sources and notebooks for random generators without a seed and for switches that undo determinism.

It parses and never executes. A name is followed through imports alone, so what it finds are hints: a generator that
is handed around is not seen, and a call in dead code is. Only what is known to draw is named.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["GLOBAL_GENERATORS", "Look", "Place", "look_at", "look_at_notebook"]

GLOBAL_GENERATORS: Mapping[str, str] = {
    "random": "Python's global generator",
    "numpy": "NumPy's global generator",
    "torch": "torch's global generator",
}
"""How a person calls the generators that a process shares, by the name that a record has."""

_EVERY = frozenset(GLOBAL_GENERATORS)
_SEEDING: Mapping[str, frozenset[str]] = {
    "random.seed": frozenset({"random"}),
    "numpy.random.seed": frozenset({"numpy"}),
    "torch.manual_seed": frozenset({"torch"}),
    "torch.random.manual_seed": frozenset({"torch"}),
    "transformers.set_seed": _EVERY,
    "transformers.trainer_utils.set_seed": _EVERY,
    "accelerate.utils.set_seed": _EVERY,
    "keras.utils.set_random_seed": _EVERY,
    "tensorflow.keras.utils.set_random_seed": _EVERY,
    "lightning.seed_everything": _EVERY,
    "lightning.pytorch.seed_everything": _EVERY,
    "pytorch_lightning.seed_everything": _EVERY,
}
_OWN_GENERATORS = frozenset(
    {
        "random.Random",
        *(
            f"numpy.random.{name}"
            for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "RandomState", "SFC64", "SeedSequence")
        ),
        "numpy.random.default_rng",
    }
)
_NO_DRAWS = {
    "random": frozenset({"getstate", "setstate", "seed", "Random", "SystemRandom"}),
    "numpy.random": frozenset({"Generator", "BitGenerator", "get_state", "set_state", "seed"}),
}
_TORCH_DRAWS = frozenset(
    {
        *("bernoulli", "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like"),
        *("randn", "randn_like", "randperm"),
        *("utils.data.RandomSampler", "utils.data.WeightedRandomSampler", "utils.data.random_split"),
        *(
            f"nn.{layer}"
            for layer in (
                *("Bilinear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "Dropout"),
                *("Embedding", "GRU", "LSTM", "Linear", "MultiheadAttention", "RNN", "Transformer"),
                *("TransformerDecoderLayer", "TransformerEncoderLayer"),
            )
        ),
    }
)
# Those of scikit-learn that draw with their usual arguments; without `random_state` from NumPy's global generator.
_SKLEARN_DRAWS = frozenset(
    {
        *("AdaBoostClassifier", "AdaBoostRegressor", "BaggingClassifier", "BaggingRegressor"),
        *("BayesianGaussianMixture", "BernoulliRBM", "DecisionTreeClassifier", "DecisionTreeRegressor"),
        *("ExtraTreeClassifier", "ExtraTreeRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"),
        *("FastICA", "GaussianMixture", "GradientBoostingClassifier", "GradientBoostingRegressor"),
        *("GroupShuffleSplit", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
        *("IsolationForest", "KMeans", "LatentDirichletAllocation", "LinearSVC", "MLPClassifier"),
        *("MLPRegressor", "MiniBatchKMeans", "Nystroem", "PassiveAggressiveClassifier", "RBFSampler"),
        *("RANSACRegressor", "RandomForestClassifier", "RandomForestRegressor", "RandomizedSearchCV"),
        *("RepeatedKFold", "RepeatedStratifiedKFold", "SGDClassifier", "SGDRegressor", "ShuffleSplit"),
        *("StratifiedShuffleSplit", "TSNE", "TruncatedSVD", "make_blobs", "make_classification"),
        *("make_moons", "make_regression", "permutation_importance", "resample", "shuffle"),
    }
)
# What draws only where it shuffles: by its name, whether it does unless it is told otherwise.
_SKLEARN_SHUFFLES: Mapping[str, bool] = {
    "KFold": False,
    "StratifiedGroupKFold": False,
    "StratifiedKFold": False,
    "train_test_split": True,
}
_TORCH_LOADER = "torch.utils.data.DataLoader"
# A seed that is made of one of these is another one each time.
_AMBIENT = frozenset(
    {
        *("datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow", "os.getpid"),
        *(
            "os.urandom",
            "random.SystemRandom",
            "secrets.randbelow",
            "secrets.randbits",
            "secrets.token_bytes",
        ),
        *(
            "time.monotonic_ns",
            "time.perf_counter_ns",
            "time.time",
            "time.time_ns",
            "uuid.uuid1",
            "uuid.uuid4",
        ),
    }
)
_UNDOING: Mapping[str, bool] = {
    "torch.backends.cudnn.benchmark": True,
    "torch.backends.cudnn.deterministic": False,
}
"""Switches of torch, each with the value that undoes determinism."""
_SETTLING = "torch.use_deterministic_algorithms"
# Every library that draws, and every call that seeds, is called so.
_OF_INTEREST = re.compile(rb"random|scipy|seed|sklearn|torch")
# Magics of a notebook whose cell is Python all the same.
_PYTHON_CELLS = frozenset({"%%capture", "%%prun", "%%time", "%%timeit"})


@dataclass(frozen=True, slots=True)
class Place:
    """A line that draws without a seed, or switches something.

    Attributes:
        line: Counted from 1; in a notebook the code cell.
        what: As a person reads it: `numpy.random.rand()`.
        generator: One of `GLOBAL_GENERATORS`; None for a generator of the program's own.
    """

    line: int
    what: str
    generator: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What one source does.

    Attributes:
        seeds: The global generators that it seeds.
        draws: Draws without a seed, each of which another file may still seed; sorted by line.
        undoes: Switches that it sets against determinism.
        imports_torch: Whether it imports torch.
        settles_torch: Whether it asks torch for deterministic algorithms.
    """

    seeds: frozenset[str] = frozenset()
    draws: tuple[Place, ...] = ()
    undoes: tuple[Place, ...] = ()
    imports_torch: bool = False
    settles_torch: bool = False


def look_at(source: bytes) -> Look | None:
    """Returns what a source does; None where it is no Python that this interpreter can read.

    A source that names none of what is looked for is not parsed, which takes a millisecond for 100 lines.
    """
    if not _OF_INTEREST.search(source):
        return Look()
    nodes = _parse(source)
    return None if nodes is None else _look(nodes)


def look_at_notebook(source: bytes) -> Look | None:
    """Returns what a notebook's code cells do; None where it is no notebook of Python.

    What a cell says to the shell or to Jupyter is left out, and so is a cell that is no Python then.
    """
    nodes: list[ast.AST] = []
    try:
        for number, text in enumerate(_code_cells(json.loads(source)), start=1):
            for node in _parse(_without_magics(text).encode("utf-8", "surrogatepass")) or ():
                if isinstance(node, ast.expr | ast.stmt):
                    node.lineno = number
                nodes.append(node)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None  # Other JSON, or another language.
    return _look(nodes)


def _code_cells(notebook: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON value
    """Yields the code cells of a notebook of Python; raises whatever comes of another form."""
    if notebook["metadata"].get("language_info", {}).get("name", "python") != "python":
        raise ValueError
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def _without_magics(text: str) -> str:
    lines = text.splitlines()
    first = (lines[:1] or [""])[0].split()
    if first and first[0].startswith("%%") and first[0] not in _PYTHON_CELLS:
        return ""
    return "\n".join(
        # In a block it may be all that there is.
        line[: len(line) - len(line.lstrip())] + "pass" if line.lstrip().startswith(("%", "!")) else line
        for line in lines
    )


def _parse(source: bytes) -> list[ast.AST] | None:
    try:
        with warnings.catch_warnings():
            # What a stranger's literals look like is no news to whoever asks.
            warnings.simplefilter("ignore")
            return list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _look(nodes: list[ast.AST]) -> Look:
    names = dict(_imported(nodes))
    calls = [
        (node, name)
        for node in nodes
        if isinstance(node, ast.Call) and (name := _qualified(node.func, names)) is not None
    ]
    draws = [
        Place(node.lineno, f"{name}()", generator)
        for node, name in calls
        for generator in _drawn(node, name, names)
    ]
    return Look(
        seeds=frozenset(
            generator
            for node, name in calls
            if _has_seed(node, names)
            for generator in _SEEDING.get(name, frozenset())
        ),
        draws=tuple(sorted(draws, key=lambda place: place.line)),
        undoes=(
            *_switches(nodes, names),
            *(
                Place(node.lineno, f"{name}(False)")
                for node, name in calls
                if name == _SETTLING and _is_off(node)
            ),
        ),
        imports_torch=any(name == "torch" or name.startswith("torch.") for name in names.values()),
        settles_torch=any(name == _SETTLING and not _is_off(node) for node, name in calls),
    )


def _imported(nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
    """Yields each name that an import binds, with what it stands for."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for item in node.names:
                top = item.name.partition(".")[0]
                yield (item.asname, item.name) if item.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for item in node.names:
                yield item.asname or item.name, f"{node.module}.{item.name}"


def _qualified(node: ast.expr, names: Mapping[str, str]) -> str | None:
    """Returns the whole name of what an expression names by way of an import."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return None
    return ".".join([names[node.id], *reversed(parts)])


def _drawn(node: ast.Call, name: str, names: Mapping[str, str]) -> Iterator[str | None]:
    """Yields the generator that a call draws from without a seed, None for one that it makes; usually nothing."""
    module, _, last = name.rpartition(".")
    if name in _OWN_GENERATORS:
        if not _has_seed(node, names):
            yield None
    elif module in _NO_DRAWS:
        # Exceptions and the like have names with a capital; what draws has none.
        if last not in _NO_DRAWS[module] and last.islower():
            yield module.partition(".")[0]
    elif name == _TORCH_LOADER or (
        name.removeprefix("torch.") in _TORCH_DRAWS and module.startswith("torch")
    ):
        shuffles = name != _TORCH_LOADER or _shuffles(node, default=False)
        if shuffles and not _has_keyword(node, "generator"):
            yield "torch"
    elif _draws_from_numpy(node, module, last) and not _has_keyword(node, "random_state"):
        yield "numpy"


def _draws_from_numpy(node: ast.Call, module: str, name: str) -> bool:
    """Returns whether a call of another library draws from NumPy's global generator without `random_state`."""
    if module.startswith("scipy.stats."):
        return name == "rvs"
    if module.partition(".")[0] != "sklearn":
        return False
    if name in _SKLEARN_SHUFFLES:
        return _shuffles(node, default=_SKLEARN_SHUFFLES[name])
    return name in _SKLEARN_DRAWS


def _shuffles(node: ast.Call, *, default: bool) -> bool:
    """Returns whether `shuffle` is known to be on; an argument that is computed is not known."""
    for keyword in node.keywords:
        if keyword.arg == "shuffle":
            return isinstance(keyword.value, ast.Constant) and keyword.value.value is True
    return default


def _has_seed(node: ast.Call, names: Mapping[str, str]) -> bool:
    """Returns whether a call gives an argument that is not None, and that is the same each time as far as it tells."""
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    if all(isinstance(value, ast.Constant) and value.value is None for value in values):
        return False
    parts = (part for value in values for part in ast.walk(value))
    return not any(isinstance(part, ast.Call) and _qualified(part.func, names) in _AMBIENT for part in parts)


def _has_keyword(node: ast.Call, name: str) -> bool:
    """Returns whether a call gives, or may give, an argument that is not None."""
    return any(
        keyword.arg is None
        or (
            keyword.arg == name
            and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)
        )
        for keyword in node.keywords
    )


def _is_off(node: ast.Call) -> bool:
    values = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
    return any(isinstance(value, ast.Constant) and value.value is False for value in values)


def _switches(nodes: list[ast.AST], names: Mapping[str, str]) -> Iterator[Place]:
    for node in nodes:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        for target in node.targets:
            name = _qualified(target, names)
            if name is not None and name in _UNDOING and node.value.value is _UNDOING[name]:
                yield Place(node.lineno, f"{name} = {node.value.value}")
