"""The small objects: commits, runs, environments and verdicts.

Each is a frozen dataclass whose canonical JSON (see `canonical.py`) is its identity.
A field that equals its default is left out of the encoding, so that a later mlvc can add fields without changing
any existing id; a key that this mlvc does not know is an error, because ignoring it could change a meaning.
Format page: docs/format/objects.md
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from blake3 import blake3

from mlvc.errors import FormatError, VersionError
from mlvc.model.canonical import Json, JsonObject, decode_canonical, encode_canonical
from mlvc.model.ids import BlobId, CommitId, EnvironmentId, ObjectId, PlanId, RunId, TreeId, VerdictId
from mlvc.model.lock import TrackedPath, check_path
from mlvc.model.names import decode_name, encode_name
from mlvc.model.tree import Kind

__all__ = [
    "NATURES",
    "VERDICTS",
    "Base",
    "Cause",
    "Code",
    "Commit",
    "Difference",
    "Distribution",
    "Environment",
    "Interpreter",
    "Observed",
    "OutputVerdict",
    "Run",
    "StoredObject",
    "Variation",
    "Verdict",
    "decode_object",
    "to_json",
]


class StoredObject:
    """A small object that the store keeps under the BLAKE3 of its canonical encoding."""

    type_name: ClassVar[str]
    id_type: ClassVar[type[ObjectId]]

    def encode(self) -> bytes:
        """Returns the canonical encoding, with the keys `type` and `version`."""
        value = to_json(self)
        return encode_canonical({"type": self.type_name, "version": 1, **value})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Returns the object that `data` encodes.

        Raises:
            FormatError: `data` is no canonical encoding of this type.
            VersionError: It was written by a newer mlvc.
        """
        return cls._decoded(decode_canonical(data), data)

    @classmethod
    def _decoded(cls, value: JsonObject, data: bytes) -> Self:
        """Returns the object that `value` describes, which `data` encodes; raises as `decode`."""
        type_name, version = value.pop("type", None), value.pop("version", None)
        if type_name != cls.type_name:
            raise FormatError(f"not a {cls.type_name}: the type is {str(type_name)[:40]!r}")
        if version != 1:
            raise VersionError(f"this mlvc does not know version {version} of a {cls.type_name}")
        result = typing.cast("Self", _from_json(cls, value))
        # A default that is spelled out decodes well; the value would then have two encodings and two ids.
        if result.encode() != data:
            raise FormatError(f"a {cls.type_name} is not in canonical form")
        return result


@dataclass(frozen=True, slots=True)
class Code:
    """The code exactly as it was.

    Attributes:
        sha: The git commit, as hexadecimal digits; None on an unborn branch.
        dirty: Whether the work tree's code differed from that commit.
        tree: The code as an mlvc tree.
        omitted: Untracked files that were left out, in text form, each with its reason after a tab.
        branch: The branch, or None on a detached head.
    """

    sha: str | None
    dirty: bool
    tree: TreeId
    omitted: tuple[str, ...] = ()
    branch: str | None = None


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that an environment runs on.

    Attributes:
        executable: The path it was called by, for example the virtual environment's.
        real_executable: The interpreter's own binary, with links resolved.
        version: For example `3.11.7`.
        implementation: For example `cpython`.
        build: The whole of `sys.version`.
        prefix: `sys.prefix` at capture: the virtual environment.
        base_prefix: `sys.base_prefix`: where the interpreter is installed.
        tree: The files below `base_prefix`, where that lies outside `/usr`; None for a system interpreter.
        soabi: For example `cpython-311-x86_64-linux-gnu`.
    """

    executable: str
    real_executable: str
    version: str
    implementation: str
    build: str
    prefix: str
    base_prefix: str
    tree: TreeId | None = None
    soabi: str = ""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed distribution.

    Attributes:
        name: As its metadata spells it.
        version: Likewise.
        wheel: The wheel repacked from the installed files; None for an editable install.
        wheel_name: The wheel's file name.
        wheel_sha256: Of the wheel's bytes, in hexadecimal digits, because pip and PEP 751 ask for it.
        wheel_bytes: The wheel's length.
        modified: Installed files that differ from `RECORD`, in text form.
        missing: Files that `RECORD` names and that are not there.
        recorded: False where the distribution has no `RECORD`.
        origin: `direct_url.json` as it stands, without credentials; empty for an index.
        editable: The directory an editable install points to, in text form: relative to the repository
            (`editable_tree` None: the code tree has it) or absolute (`editable_tree` holds it).
        editable_tree: The files of an editable install that lies outside the repository.
        editable_paths: What the install puts on `sys.path`, relative to `editable`.
        public_url: The public wheel that agrees file by file, if `env lock --resolve` found it.
        public_sha256: Its sha256.
    """

    name: str
    version: str
    wheel: BlobId | None = None
    wheel_name: str = ""
    wheel_sha256: str = ""
    wheel_bytes: int = 0
    modified: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    recorded: bool = True
    origin: str = ""
    editable: str | None = None
    editable_tree: TreeId | None = None
    editable_paths: tuple[str, ...] = ()
    public_url: str = ""
    public_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Environment(StoredObject):
    """What a run's interpreter and packages were.

    Attributes:
        interpreter: The Python.
        platform: `system`, `machine`, `libc` and the like.
        freeze: The literal output of `pip freeze`.
        distributions: Sorted by normalised name.
        unowned: Files in site-packages that no distribution owns, or None if there are none.
        system_libraries: Shared libraries (sonames) that the wheels need and that the system provides.
        glibc: The highest glibc symbol version that any binary needs, for example `2.28`.
    """

    type_name = "environment"
    id_type = EnvironmentId

    interpreter: Interpreter
    platform: Mapping[str, str]
    freeze: str
    distributions: tuple[Distribution, ...] = ()
    unowned: TreeId | None = None
    system_libraries: tuple[str, ...] = ()
    glibc: str = ""

    @property
    def id(self) -> EnvironmentId:
        """The BLAKE3 of the encoding; computed at each call."""
        return EnvironmentId.of(self.encode())


@dataclass(frozen=True, slots=True)
class Base:
    """The base image that a container ran on.

    Attributes:
        reference: As it was asked for, for example `python:3.11-slim`.
        image_id: The local image id, `sha256:…`.
        digest: The repository digest, if the image has one.
        layers: The diff ids of its layers.
    """

    reference: str
    image_id: str
    digest: str = ""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """What a run was seen to open and to connect to.

    Attributes:
        tracer: Who watched: `audit-hook`, `seccomp` or `strace`, two with a comma between them, or empty for nobody;
            what each cannot see is documented.
        reads: Files outside the environment and the system that were opened for reading, in text form; relative
            ones are below the repository.
        undeclared: Those of them that are neither code, nor input, nor output, nor written by the run itself.
        digests: What undeclared files held after the command, by name, within limits of size and number.
        failed_opens: Files that could not be opened because they did not exist.
        connections: `host:port` of sockets.
        system_reads: Files of the system that were opened for reading, shared libraries left out.
        listed: Directories whose entries were asked for.
        executed: Programs that were started.
        libraries: Shared libraries of the system that were loaded.
        packages: The package of the system, and its version, that each of them comes from, where that is known.
        drawn: How often a program that is no Python asked the system for randomness, by program; the audit
            hook does not see it.
        strace_alone: Those of `reads` and `failed_opens` that who watched from outside saw, and the audit hook did not.
    """

    tracer: str = ""
    reads: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    failed_opens: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    system_reads: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    executed: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    strace_alone: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    drawn: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run(StoredObject):
    """One recorded execution.

    Attributes:
        plan: The BLAKE3 of what determines the run; two runs of one plan share it. See `plan_id`.
        argv: The command, each argument in text form.
        directory: The working directory relative to the repository, in text form; empty for its root.
        project: The work tree's absolute path, in text form; a reproduction puts the project there.
        code: The code as it was.
        inputs: Declared inputs as they were before the command started.
        changed_inputs: Declared inputs whose bytes were others after the command.
        outputs: Declared outputs that exist after the command.
        missing_outputs: Declared outputs that do not, in text form.
        environment: The Python environment of `argv[0]`; None where the command is no Python.
        base: The image, where the run was recorded in a container.
        engine: `none`, `bubblewrap` or `docker`.
        variables: Environment variables that change numbers, and those that the user declared, as they were set.
        other_variables: Of the variables that were passed on and are not recorded, digests that only the clone
            that made them can compare; empty in an engine, which passes none on.
        secrets: Names of the variables that were passed on and never recorded.
        profile: `strict`, `portable` or `none`.
        pins: The variables that the profile set.
        threads: What the profile pinned the number of threads to; 0 where it pinned none.
        seed: `--seed`, if given.
        params: Parameters by name; each value is its JSON text.
        metrics: Metrics by name; each value is its JSON text, of several the last.
        params_files: The files that parameters were read from.
        metrics_files: The files that metrics were read from.
        effective: What was really in force, probed inside the process; JSON text by name.
        host: Facts about the machine.
        fingerprint: Digests of small numeric operations by name.
        observed: What it opened.
        name: What the user called it.
        status: `finished`, `failed` or `interrupted`.
        exit_code: The command's; 128 + n when signal n ended it.
        started: UTC, ISO 8601 with microseconds.
        duration_ms: Wall time of the command.
        log: Standard output and error as one blob.
        log_bytes: Its length.
        author: Name and address, as git has them.
        repeats: How often the command was executed again right away, to see whether it repeats.
        gpus: The GPUs of the machine, if the command loaded the driver's library; a reproduction gets those it has.
        unstable_outputs: Outputs that had other bytes then, or were missing; all of them where it then failed.
        steps: Where the training stood at some of its steps, if it told: a list as `repro/progress.py` has it.
        series: The metrics that were measured at several steps, as a blob; see `mlvc.model.series`.
    """

    type_name = "run"
    id_type = RunId

    plan: PlanId
    argv: tuple[str, ...]
    directory: str
    project: str
    code: Code
    inputs: tuple[TrackedPath, ...] = ()
    changed_inputs: tuple[TrackedPath, ...] = ()
    outputs: tuple[TrackedPath, ...] = ()
    missing_outputs: tuple[str, ...] = ()
    environment: EnvironmentId | None = None
    base: Base | None = None
    engine: str = "none"
    variables: Mapping[str, str] = field(default_factory=dict)
    other_variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    profile: str = "strict"
    pins: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    seed: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    params_files: tuple[str, ...] = ()
    metrics_files: tuple[str, ...] = ()
    effective: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, str] = field(default_factory=dict)
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    observed: Observed = field(default_factory=Observed)
    name: str | None = None
    status: str = "finished"
    exit_code: int = 0
    started: str = ""
    duration_ms: int = 0
    log: BlobId | None = None
    log_bytes: int = 0
    author: str = ""
    gpus: tuple[str, ...] = ()
    repeats: int = 0
    unstable_outputs: tuple[str, ...] = ()
    steps: BlobId | None = None
    series: BlobId | None = None

    @property
    def id(self) -> RunId:
        """The BLAKE3 of the encoding; computed at each call."""
        return RunId.of(self.encode())

    def with_plan(self) -> Run:
        """Returns the run with `plan` set to what its other fields make it."""
        determining: JsonObject = {
            "argv": list(self.argv),
            "base": None if self.base is None else self.base.image_id,
            "code": str(self.code.tree),
            "directory": self.directory,
            "engine": self.engine,
            "environment": None if self.environment is None else str(self.environment),
            "inputs": [[entry.name, str(entry.id)] for entry in self.inputs],
            "outputs": [*sorted([*(entry.name for entry in self.outputs), *self.missing_outputs])],
            # The time of the commit goes into files and into no number, and every commit has another one.
            "pins": {name: value for name, value in self.pins.items() if name != "SOURCE_DATE_EPOCH"},
            "profile": self.profile,
            "seed": self.seed,
            "threads": self.threads,
            "variables": dict(self.variables),
        }
        return dataclasses.replace(self, plan=PlanId(blake3(encode_canonical(determining)).digest()))


@dataclass(frozen=True, slots=True)
class Commit(StoredObject):
    """A data commit: what was tracked when the code was at `code_sha`.

    Attributes:
        code_sha: The git commit it links to.
        code_tree: That commit's files as an mlvc tree, or None where only the git commit is known.
        paths: The tracked paths, sorted.
        environment: The environment of the lock, if any.
        parents: The mlvc commits of the git commit's parents.
        author: Name and address, as git has them.
        time: The git commit's author time, ISO 8601 with the author's offset.
        message: The git commit's message.
    """

    type_name = "commit"
    id_type = CommitId

    code_sha: str
    code_tree: TreeId | None
    paths: tuple[TrackedPath, ...]
    environment: EnvironmentId | None = None
    parents: tuple[CommitId, ...] = ()
    author: str = ""
    time: str = ""
    message: str = ""

    @property
    def id(self) -> CommitId:
        """The BLAKE3 of the encoding; computed at each call."""
        return CommitId.of(self.encode())


NATURES = ("container", "order", "numeric", "value", "structure")
"""How two contents may differ in one place, from harmless to grave.

`container`: only how the format wraps the content, such as a time in a zip header; `order`: the same elements in
another order; `numeric`: floating-point numbers of one shape and type; `value`: anything that is equal or is not;
`structure`: shape, type, length, or presence.
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where an output and its reproduction differ.

    Numbers that are no integers stand as text, because the encoding has no floats.

    Attributes:
        where: The place, as the format names it: `$._bin_mapper.n_threads`, `layer1.weight`, `column price`; empty
            for the whole file.
        nature: One of `NATURES`.
        recorded: What was there, shortened for a person; empty where nothing was, or where it is too large to show.
        reproduced: What is there now, likewise.
        dtype: The element type of an array or a column; empty otherwise.
        differing: How many elements differ; 0 where they are not counted.
        total: Of how many.
        norm: The norm-wise relative error, the 2-norm of the difference over that of the recorded one; empty unless
            `numeric`.
        largest: The largest absolute difference of two elements; empty unless `numeric`.
        ulps: The largest distance in units in the last place, of elements that are not tiny; 0 unless `numeric`.
        rule: The name of the rule that lets it be ignored; empty if none does.
    """

    where: str
    nature: str
    recorded: str = ""
    reproduced: str = ""
    dtype: str = ""
    differing: int = 0
    total: int = 0
    norm: str = ""
    largest: str = ""
    ulps: int = 0
    rule: str = ""


@dataclass(frozen=True, slots=True)
class OutputVerdict:
    """How one output compares.

    Attributes:
        path: In text form.
        verdict: One of `VERDICTS`.
        recorded: The recorded id in text form.
        reproduced: The reproduced id in text form; None where there is none.
        detail: What differs, for a person; empty where nothing does.
        differences: The places that differ, the gravest first, as many as are worth keeping.
    """

    path: str
    verdict: str
    recorded: str
    reproduced: str | None = None
    detail: str = ""
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """One finding of a diagnosis.

    Attributes:
        cause: In kebab-case.
        detail: A sentence.
        status: `confirmed` where an experiment showed it, `likely` where the records and the differences speak for
            it, `untested` where an experiment could have told and was not made.
        rerun: The number of the re-run that confirmed it, counted from 1, the reproduction itself; 0 for none.
        experiment: What that re-run changed and what came of it; empty where none confirmed it.
        fix: The line that mends it, to be typed or written into the code; empty where nobody knows one.
    """

    cause: str
    detail: str
    status: str = "likely"
    rerun: int = 0
    experiment: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Variation:
    """How a run behaved when one thing about its surroundings was changed on purpose.

    Attributes:
        factor: What was changed, such as `hash-seed`.
        verdict: How the outputs compare with those of the re-run in which nothing was changed; empty where it could
            not be tried.
        detail: What it was changed to, and what differed or why it could not be tried.
    """

    factor: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict(StoredObject):
    """The outcome of one reproduction of a run.

    Attributes:
        run: The recorded run.
        verdict: The worst of its outputs', or `failed`.
        outputs: One for each declared output.
        engine: `docker`, `bubblewrap` or `none`.
        isolated: False for the engine `none`.
        base: The image that it ran on.
        host: Facts about the machine it ran on.
        exit_code: The command's.
        diagnosis: Findings, the confirmed ones first, then the most likely.
        reruns: How many more executions the findings and variations took.
        variations: How the run behaves elsewhere, where that was asked.
        extra_files: Files that the command wrote besides its outputs, in text form.
        started: UTC, ISO 8601 with microseconds.
        duration_ms: Wall time of the command.
        log: Standard output and error as one blob.
        log_bytes: Its length.
        policy: What the comparison went by: `version`, and the bound of each element type.
    """

    type_name = "verdict"
    id_type = VerdictId

    run: RunId
    verdict: str
    outputs: tuple[OutputVerdict, ...] = ()
    engine: str = "none"
    isolated: bool = True
    base: Base | None = None
    host: Mapping[str, str] = field(default_factory=dict)
    exit_code: int = 0
    diagnosis: tuple[Cause, ...] = ()
    reruns: int = 0
    variations: tuple[Variation, ...] = ()
    extra_files: tuple[str, ...] = ()
    started: str = ""
    duration_ms: int = 0
    log: BlobId | None = None
    log_bytes: int = 0
    policy: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> VerdictId:
        """The BLAKE3 of the encoding; computed at each call."""
        return VerdictId.of(self.encode())


VERDICTS = ("identical", "equivalent", "close", "different", "uncomparable", "missing", "failed")
"""From best to worst; a run's verdict is its worst output's."""

_OBJECT_TYPES: Mapping[str, type[StoredObject]] = {
    "commit": Commit,
    "run": Run,
    "environment": Environment,
    "verdict": Verdict,
}


def decode_object(data: bytes) -> StoredObject:
    """Returns the object of whichever type `data` encodes.

    Raises:
        FormatError: `data` encodes no known type.
        VersionError: It was written by a newer mlvc.
    """
    value = decode_canonical(data)
    type_name = value.get("type")
    object_type = _OBJECT_TYPES.get(type_name) if isinstance(type_name, str) else None
    if object_type is None:
        raise FormatError(f"unknown type of object: {str(type_name)[:40]!r}")
    return object_type._decoded(value, data)  # noqa: SLF001  # this module's own class


def to_json(value: Any) -> JsonObject:  # noqa: ANN401  # any dataclass of this module
    """Returns a dataclass of this module as JSON, without the fields that equal their defaults."""
    result: JsonObject = {}
    for item in dataclasses.fields(value):
        content = getattr(value, item.name)
        default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        if content != default:
            result[item.name] = _value_to_json(content)
    return result


def _value_to_json(value: Any) -> Json:  # noqa: ANN401  # any field's value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, TrackedPath):
        return _tracked_to_json(value)
    if isinstance(value, tuple):
        return [_value_to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _value_to_json(item) for key, item in value.items()}
    return to_json(value)


def _tracked_to_json(entry: TrackedPath) -> JsonObject:
    result: JsonObject = {
        "path": encode_name(entry.path),
        "kind": entry.kind.word,
        "id": str(entry.id),
        "files": entry.files,
        "bytes": entry.size_bytes,
    }
    if entry.run is not None:
        result["run"] = str(entry.run)
    return result


_KINDS = {kind.word: kind for kind in Kind}


def _tracked_from_json(value: JsonObject) -> TrackedPath:
    unknown = value.keys() - {"path", "kind", "id", "files", "bytes", "run"}
    if unknown:
        raise VersionError(f"a tracked path has an unknown key {min(unknown)[:40]!r}")
    match value:
        case {
            "path": str(name),
            "kind": str(word),
            "id": str(id_text),
            "files": int(files),
            "bytes": int(size_bytes),
        }:
            kind = _KINDS.get(word)
            if kind is None:
                raise FormatError(f"unknown kind {word[:40]!r}")
            path = decode_name(name)
            check_path(path)
            if isinstance(files, bool) or isinstance(size_bytes, bool) or files < 0 or size_bytes < 0:
                raise FormatError("a tracked path has no valid counts")
            run = value.get("run")
            if run is not None and not isinstance(run, str):
                raise FormatError("a tracked path names no run")
            return TrackedPath(
                path,
                kind,
                TreeId.parse(id_text) if kind is Kind.DIRECTORY else BlobId.parse(id_text),
                files,
                size_bytes,
                None if run is None else RunId.parse(run),
            )
        case _:
            raise FormatError("a tracked path is incomplete")


@functools.cache
def _field_types(expected: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(expected)
    return {item.name: hints[item.name] for item in dataclasses.fields(expected)}


def _from_json(expected: Any, value: Json) -> Any:  # noqa: ANN401, PLR0911  # one return for each kind of type
    """Returns `value` as the annotated type `expected`; exact types only."""
    origin = typing.get_origin(expected)
    if origin is types.UnionType:
        if value is None:
            return None
        (inner,) = (arg for arg in typing.get_args(expected) if arg is not types.NoneType)
        return _from_json(inner, value)
    if origin is tuple:
        if not isinstance(value, list):
            raise FormatError("a list is missing")
        return tuple(_from_json(typing.get_args(expected)[0], item) for item in value)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise FormatError("an object is missing")
        return {key: _from_json(typing.get_args(expected)[1], item) for key, item in value.items()}
    if issubclass(expected, ObjectId):
        if not isinstance(value, str):
            raise FormatError("an id is missing")
        return expected.parse(value)
    if expected in {bool, int, str}:
        if type(value) is not expected:
            raise FormatError(f"a value is no {expected.__name__}")
        return value
    if not isinstance(value, dict):
        raise FormatError("an object is missing")
    if expected is TrackedPath:
        return _tracked_from_json(value)
    known = _field_types(expected)
    unknown = value.keys() - known.keys()
    if unknown:
        raise VersionError(f"a {expected.__name__.lower()} has an unknown key {min(unknown)[:40]!r}")
    try:
        return expected(**{key: _from_json(known[key], item) for key, item in value.items()})
    except TypeError as exc:
        raise FormatError(f"a {expected.__name__.lower()} is incomplete: {exc}") from None
