"""Looks at R scripts for what would make a run of theirs hard to repeat; it reads words, and never executes.

Draws from R's generator without a seed, data that is named by an absolute path, and packages that the script installs
itself. What it finds are hints: a function that is handed around is not seen, and a call in dead code is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlvc.model.names import encode_name
from mlvc.verbs.finding import Finding

__all__ = ["ENDINGS", "RLook", "RPlace", "find_in_r", "look_at_r"]

ENDINGS = (".R", ".r")
"""What the name of an R script ends with."""

# Each alternative ends where the text does at the latest, so that a text of any length is read once.
_TOKEN = re.compile(
    r"""
      (?P<comment>\#[^\n]*)
    | (?P<raw>[rR](?P<quote>["'])(?P<dashes>-*)\((?P<inner>.*?)(?:\)(?P=dashes)(?P=quote)|\Z))
    | (?P<text>"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|'(?:[^'\\]|\\.)*+(?:'|\\?\Z)|`[^`]*+(?:`|\Z))
    | (?P<name>[^\W\d][\w.]*|\.[\w.]*)
    | (?P<sign>[^\s\w])
    """,
    re.VERBOSE | re.DOTALL,
)
_DRAWS = frozenset(
    {
        *(
            "rbeta",
            "rbinom",
            "rcauchy",
            "rchisq",
            "rexp",
            "rf",
            "rgamma",
            "rgeom",
            "rhyper",
            "rlnorm",
            "rlogis",
        ),
        *("rmultinom", "rnbinom", "rnorm", "rpois", "rsignrank", "rt", "runif", "rweibull", "rwilcox"),
        *("sample", "sample.int", "sample_frac", "sample_n", "slice_sample", "kmeans", "randomForest"),
        *("bootstraps", "createDataPartition", "createFolds", "initial_split", "mc_cv", "vfold_cv"),
    }
)
_SEEDS = frozenset({"local_seed", "set.seed", "with_seed"})
# A seed that is made of one of these is another one each time; NULL is none.
_AMBIENT = frozenset({"NULL", "Sys.getpid", "Sys.time", "proc.time"})
_READS = frozenset(
    {
        *("file", "fread", "fromJSON", "gzfile", "load", "readLines", "readRDS", "read_csv", "read_delim"),
        *("read_excel", "read_feather", "read_parquet", "read_rds", "read_tsv", "read.csv", "read.csv2"),
        *("read.delim", "read.fst", "read.table", "read.xlsx", "readtext", "scan", "setwd", "source"),
        *("file.path", "list.files", "normalizePath", "qread", "vroom"),
    }
)
_INSTALLS = frozenset(
    {
        *("biocLite", "install.packages", "install_bioc", "install_cran", "install_git", "install_github"),
        *("install_gitlab", "install_local", "install_url", "install_version", "p_load", "pkg_install"),
    }
)
_INSTALLERS_OF = {"install": "BiocManager"}
"""Functions with a common name, that install where they are called with this package's."""
_ABSOLUTE = re.compile(r"/[^/\s]|~/|[A-Za-z]:[/\\]|\\\\")
_LONGEST = 80
_LONGEST_SEED = 100
"""Words; so that a script of calls that are never closed is still read once."""


@dataclass(frozen=True, slots=True)
class RPlace:
    """A call.

    Attributes:
        line: Counted from 1.
        what: As a person reads it: `rnorm()`.
    """

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class RLook:
    """What one script does, each sorted by line.

    Attributes:
        is_seeding: Whether it seeds R's generator with what is the same each time.
        draws: Calls that draw.
        paths: Calls that read what an absolute path names.
        installs: Calls that install packages.
    """

    is_seeding: bool = False
    draws: tuple[RPlace, ...] = ()
    paths: tuple[RPlace, ...] = ()
    installs: tuple[RPlace, ...] = ()


def look_at_r(source: bytes) -> RLook:
    """Returns what a script does, whatever its text is."""
    is_seeding = False
    draws, paths, installs = list[RPlace](), list[RPlace](), list[RPlace]()
    tokens = list(_tokens(source.decode("utf-8", "replace")))
    for number, (line, name) in enumerate(tokens):
        if _at(tokens, number + 1) != "(" or _at(tokens, number - 1) in {"$", "@"}:
            continue  # No call, or a method of some object.
        call = RPlace(line, f"{name}()")
        if name in _SEEDS:
            is_seeding |= _is_fixed(tokens, number + 2)
        elif name in _DRAWS:
            draws.append(call)
        elif name in _INSTALLS or (
            name in _INSTALLERS_OF and _INSTALLERS_OF[name] == _at(tokens, number - 3)
        ):
            installs.append(call)
        elif name in _READS:
            path = _first_text(tokens, number + 2)
            if _ABSOLUTE.match(path):
                # It may be a stranger's, and hold anything.
                told = encode_name(path[:_LONGEST].encode())
                paths.append(RPlace(line, f'{name}("{told}")'))
    return RLook(is_seeding, tuple(draws), tuple(paths), tuple(installs))


def find_in_r(looks: Mapping[bytes, RLook]) -> Iterator[Finding]:
    """Yields a hint for each script and kind; a script that any other one seeds counts as seeded: it may source it."""
    is_seeded = any(look.is_seeding for look in looks.values())
    for path, look in looks.items():
        if look.draws and not is_seeded:
            yield Finding(
                "hint",
                "unseeded-generator",
                f"{_where(path, look.draws)} draws from R's generator, which nothing seeds{_more(look.draws)}",
                "set.seed(N) before it; --seed does not reach R",
            )
        if look.paths:
            yield Finding(
                "hint",
                "absolute-path",
                f"{_where(path, look.paths)} names a place that other machines do not have{_more(look.paths)}",
                "bring it into the repository, name it from its top, and mlvc run -i PATH",
            )
        if look.installs:
            yield Finding(
                "hint",
                "unpinned",
                f"{_where(path, look.installs)} takes the versions of the day, and a reproduction has no network"
                f"{_more(look.installs)}",
                "install before the run, and keep the versions: renv::snapshot(), and renv.lock in git",
            )


def _where(path: bytes, places: tuple[RPlace, ...]) -> str:
    return f"{encode_name(path)}:{places[0].line}: {places[0].what}"


def _more(places: tuple[RPlace, ...]) -> str:
    return f" (and {len(places) - 1} more there)" if len(places) > 1 else ""


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Yields words and signs, each with its line; a text keeps its first quote, so that no name is equal to it."""
    line, looked = 1, 0
    for found in _TOKEN.finditer(text):
        line += text.count("\n", looked, found.start())
        looked = found.start()
        if found["raw"] is not None:
            yield line, '"' + found["inner"]
        elif found["text"] is not None:
            yield line, '"' + found["text"][1:-1]
        elif found["comment"] is None:
            yield line, found[0]


def _at(tokens: list[tuple[int, str]], number: int) -> str:
    return tokens[number][1] if 0 <= number < len(tokens) else ""


def _is_fixed(tokens: list[tuple[int, str]], number: int) -> bool:
    """Returns whether the first argument that begins there is the same each time, as far as it tells."""
    depth = 0
    for _, word in tokens[number : number + _LONGEST_SEED]:
        depth += (word in "([{") - (word in ")]}")
        if depth < 0 or (depth == 0 and word == ","):
            break
        if word in _AMBIENT:
            return False
    return True


def _first_text(tokens: list[tuple[int, str]], number: int) -> str:
    """Returns the first argument that begins there, if it is a text, named or not; else an empty one."""
    if _at(tokens, number + 1) == "=":
        number += 2
    word = _at(tokens, number)
    return word[1:] if word.startswith('"') else ""
