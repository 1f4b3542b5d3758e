"""What may differ and still count as the same: named rules, each with its reason, and bounds for rounding.

Page: docs/reference/comparing.md
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["POLICY_VERSION", "RULES", "TOLERANCES", "Policy", "Rule"]

POLICY_VERSION = 2
"""Raised whenever a rule or a bound below changes what a verdict says."""

TOLERANCES: Mapping[str, float] = MappingProxyType(
    # Rounding alone was measured to move 64-bit results by up to 4e-13 and 32-bit ones by up to 8e-5.
    {"float64": 1e-9, "float32": 1e-3, "float16": 1e-2, "bfloat16": 1e-2}
)
_STANDS_FOR = {
    "complex128": "float64",
    "longdouble": "float64",
    "clongdouble": "float64",
    "complex64": "float32",
    "complex32": "float16",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of difference that does not count.

    Attributes:
        name: How a verdict names it.
        reason: Why it does not count, for a person.
        owner: A pattern for the class and attribute, of a pickle; empty where the rule is not about one.
        where: A pattern for the place as a difference names it; empty likewise.
        path: A pattern for the path of the file; empty for any.
    """

    name: str
    reason: str
    owner: str = ""
    where: str = ""
    path: str = ""

    def covers(self, path: str, where: str, owner: str) -> bool:
        """Returns whether a difference is of this kind; a rule without patterns is applied by its format alone."""
        return bool(
            (self.owner or self.where)
            and _matches(self.owner, owner)
            and _matches(self.where, where)
            and _matches(self.path, path)
        )


RULES = (
    Rule(
        "sklearn.TfidfVectorizer._stop_words_id",
        "the memory address of the list of stop words, which is another one in every process",
        owner="sklearn.feature_extraction.text.*._stop_words_id",
    ),
    Rule(
        "*.n_threads",
        "how many threads the fit used, which scikit-learn keeps in the model",
        owner="sklearn.*n_threads",
    ),
    Rule("zip.headers", "time, versions, flags and compression of the members"),
    Rule("zip.order", "the order of the members"),
    Rule("torch.archive-root", "the first directory, which is the name of the file that was saved"),
    Rule("torch.storage-keys", "the names of the storages, which are memory addresses or counters"),
    Rule("pickle.encoding", "protocol, frames and memo: how the same objects are written"),
    Rule("python.dict-order", "the order of a dictionary's items; dictionaries are equal in any order"),
    Rule("python.set-order", "the order of a set's elements, which depends on the hash seed"),
    Rule("array.memory-order", "whether rows or columns stand one after the other in the file"),
    Rule("array.padding", "bytes between the fields of a record, which nothing sets"),
    Rule("numbers.same-value", "another sign of zero, another NaN, or the same number in other digits"),
    Rule("json.layout", "white space"),
    Rule("json.key-order", "the order of an object's members"),
    Rule("safetensors.header", "the order of the tensors and the layout of the header"),
    Rule("tar.headers", "time, owner and mode of the members"),
    Rule("tar.order", "the order of the members"),
    Rule("csv.quoting", "quotes and line ends"),
    Rule("yaml.layout", "white space, comments, quotes and anchors"),
    Rule("lightgbm.layout", "white space"),
    Rule(
        "lightgbm.tree-sizes",
        "how many characters each tree takes, which follows from its digits",
        where="*$.head.tree_sizes*",
    ),
    Rule("parquet.created_by", "the library and version that wrote the file"),
    Rule("arrow.metadata", "what the writer noted about itself, such as the version of pandas"),
    Rule("arrow.layout", "row groups, statistics, encoding and compression"),
    Rule("hdf5.layout", "times, chunks, compression and the order of names"),
    Rule("sqlite.pages", "change counters and the layout of the pages"),
    Rule(
        "onnx.opset-order",
        "the order of the operator sets, which depends on the hash seed",
        where="*$.opset_import",
    ),
    Rule("onnx.producer", "the library and version that wrote the model", where="*$.producer_*"),
    Rule("onnx.layout", "the order of the fields, and of tensors and attributes, which have names"),
    Rule("log.time", "dates and times of the day, in a file whose name ends in .log"),
    Rule("log.duration", "how long something took, likewise"),
    Rule("log.temporary-path", "files below /tmp, /var/tmp and /dev/shm, likewise"),
    Rule("npy.header", "version and padding of the header"),
    Rule("compression", "how the bytes are packed"),
)
"""What is shipped. A rule without patterns is applied by the module of its format."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules and bounds that a comparison goes by.

    Attributes:
        tolerances: The largest norm-wise relative error that counts as rounding, by element type.
        rules: What does not count.
    """

    tolerances: Mapping[str, float] = field(default_factory=lambda: TOLERANCES)
    rules: tuple[Rule, ...] = RULES

    @property
    def summary(self) -> Mapping[str, str]:
        """What a verdict keeps: the version, and the bound of each element type."""
        return {"version": str(POLICY_VERSION)} | {
            name: f"{bound:g}" for name, bound in sorted(self.tolerances.items())
        }

    def tolerance(self, dtype: str) -> float:
        """Returns the bound of an element type; 0 for one that has none."""
        return self.tolerances.get(_STANDS_FOR.get(dtype, dtype), 0.0)

    def find_rule(self, path: str, where: str, owner: str) -> str:
        """Returns the name of the first rule that covers a difference; empty if none does."""
        return next((rule.name for rule in self.rules if rule.covers(path, where, owner)), "")


def _matches(pattern: str, text: str) -> bool:
    return not pattern or _compiled(pattern).fullmatch(text) is not None


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern in which `*` alone is special: brackets stand in the places themselves."""
    return re.compile(
        ".*".join(re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*")), re.DOTALL
    )
