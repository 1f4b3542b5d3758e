"""What a log and two records tell about a reproduction that is not identical."""

import dataclasses
import json
import signal

import pytest

from mlvc.model.ids import BlobId, PlanId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Code, Difference, Observed, OutputVerdict, Run, Verdict
from mlvc.model.tree import Kind
from mlvc.ports import EngineResult
from mlvc.repro.diagnose.preflight import surroundings
from mlvc.repro.diagnose.report import report_causes
from mlvc.repro.diagnose.signature import is_explained, ranked
from mlvc.repro.rerun import Rerun
from mlvc.repro.trace import Trace

RUN = Run(
    plan=PlanId(bytes(32)),
    argv=("python", "train.py"),
    directory="src",
    project="/home/u/p",
    code=Code(None, dirty=False, tree=TreeId(bytes(32))),
    threads=2,
    host={"cpu_model": "One"},
)


def diagnose(recorded, again):
    return report_causes(recorded, again, surroundings(recorded, again, has_base=False))


def run(**changes):
    return dataclasses.replace(RUN, **changes)


def rerun(
    log=b"",
    verdict="failed",
    exit_code=1,
    *,
    effective=None,
    cpu="One",
    cpus=2,
    out_of_memory=False,
    libraries=(),
):
    return Rerun(
        EngineResult(exit_code, 1, out_of_memory),
        verdict,
        (),
        log,
        Trace(effective=effective or {}),
        {"cpu_model": cpu},
        cpus,
        libraries,
    )


def first(recorded, again):
    return diagnose(recorded, again)[0]


def test_identical_needs_no_explanation():
    """Even if something else is not the same."""
    assert diagnose(RUN, rerun(verdict="identical", exit_code=0, cpu="Another")) == ()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: '../data/x y.csv'", "data/x y.csv"),
        ("FileNotFoundError: [Errno 2] No such file or directory: b'a.bin'", "src/a.bin"),
        ('FileNotFoundError: [Errno 2] No such file or directory: "it\'s"', "src/it's"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/home/u/.cache/x'", "/home/u/.cache/x"),
        (
            "python: can't open file '/home/u/p/src/train.py': [Errno 2] No such file or directory",
            "src/train.py",
        ),
        ("cat: weights.txt: No such file or directory", "src/weights.txt"),
        ("sh: 1: cannot open in.txt: No such file or directory", "in.txt"),
    ],
)
def test_a_missing_file_is_an_undeclared_input(line, name):
    """Named as it would be declared, whoever printed the message."""
    cause = first(RUN, rerun(f"Traceback\n{line}\n".encode()))

    assert cause.cause == "undeclared-input"
    assert name in cause.detail


def test_what_the_record_saw_supports_it():
    """A file that was read at the time is named with that."""
    line = b"FileNotFoundError: [Errno 2] No such file or directory: 'x.csv'"
    cause = first(run(observed=Observed("audit-hook", reads=("src/x.csv",))), rerun(line))

    assert "was read when the run was recorded" in cause.detail


@pytest.mark.parametrize(
    "line",
    [
        "FileNotFoundError: data/x.csv not found.",  # numpy.loadtxt, numpy.genfromtxt
        "FileNotFoundError: data/x.csv",  # pandas.read_parquet, pyarrow.parquet, pyarrow.dataset
        "FileNotFoundError: File data/x.csv does not exist",  # pandas.read_hdf
        # pyarrow.csv, pyarrow.feather
        "FileNotFoundError: [Errno 2] Failed to open local file 'data/x.csv'. Detail: [errno 2] No such file",
        "FileNotFoundError: No such file or directory (os error 2): data/x.csv",  # polars
        "FileNotFoundError: No such file or directory: data/x.csv",  # safetensors
        '_duckdb.IOException: IO Error: No files found that match the pattern "data/x.csv"',
        "OSError: Unable to open file (unable to open file: name = 'data/x.csv', errno = 2, error message)",  # h5py
        "  cannot open file 'data/x.csv': No such file or directory",  # R
    ],
)
def test_a_missing_file_is_named_in_whatever_words_a_library_has(line):
    """Libraries in C++ and Rust open files unseen, so their own message is all that there is."""
    findings = diagnose(RUN, rerun(f"Traceback:\n{line}\n".encode()))

    assert ["undeclared-input"] == [item.cause for item in findings if item.cause != "exit-status"]
    assert "needs src/data/x.csv, which is no input" in findings[0].detail


def test_an_explanation_is_not_taken_for_a_file():
    """A program says in words of its own what is missing."""
    findings = diagnose(RUN, rerun(b"FileNotFoundError: download the data first\n"))

    assert ["exit-status"] == [item.cause for item in findings]


def test_the_last_missing_file_comes_first():
    """Earlier ones may have been handled."""
    log = b"".join(b"[Errno 2] No such file or directory: '%s'\n" % name for name in (b"early", b"late"))

    assert "late" in first(RUN, rerun(log)).detail


def test_an_output_read_before_it_was_written_is_told_apart():
    """It stood there when the run was recorded, from an earlier run."""
    output = TrackedPath(b"src/m.bin", Kind.FILE, BlobId(bytes(32)), 1, 1)
    cause = first(run(outputs=(output,)), rerun(b"[Errno 2] No such file or directory: 'm.bin'"))

    assert "output of its own" in cause.detail


@pytest.mark.parametrize(
    ("log", "exit_code", "cause"),
    [
        (
            b"ImportError: libgomp.so.1: cannot open shared object file: No such file or directory",
            1,
            "system-library",
        ),
        (b"/lib/libm.so.6: version `GLIBC_2.38' not found (required by x.so)", 1, "system-library"),
        (b"socket.gaierror: [Errno -3] Temporary failure in name resolution", 1, "network"),
        (b"MemoryError", 1, "memory"),
        (b"ModuleNotFoundError: No module named 'torch'", 1, "missing-package"),
        (b"OSError: [Errno 30] Read-only file system: '/home/u/p/data/x'", 1, "write-outside"),
        (b"", 128 + signal.SIGILL, "illegal-instruction"),
        (b"sh: train: not found", 127, "command-not-found"),
        (b"", 9, "exit-status"),
    ],
)
def test_failures_are_told_apart(log, exit_code, cause):
    """By the end of the log or the exit status."""
    assert first(RUN, rerun(log, exit_code=exit_code)).cause == cause


def test_a_library_is_named_once_and_not_as_a_file():
    """The loader's message holds the words of a missing file too."""
    log = b"ImportError: libgomp.so.1: cannot open shared object file: No such file or directory"
    causes = [item.cause for item in diagnose(RUN, rerun(log))]

    assert "undeclared-input" not in causes
    assert "libgomp.so.1" in first(RUN, rerun(log)).detail


def test_a_program_that_could_not_be_started_is_no_missing_input():
    """What the engine `none` says of it ends in the words of a missing file too."""
    log = b"mlvc: cannot execute /opt/bin/train: No such file or directory\n"
    causes = [item.cause for item in diagnose(RUN, rerun(log, exit_code=127))]

    assert "command-not-found" == causes[0]
    assert "undeclared-input" not in causes


def test_the_engine_knows_about_memory():
    """A container that was killed for it prints nothing."""
    assert first(RUN, rerun(exit_code=137, out_of_memory=True)).cause == "memory"


def test_differences_of_the_machine_are_findings():
    """Another CPU, fewer CPUs, missing libraries."""
    causes = [
        item.cause
        for item in diagnose(
            RUN, rerun(verdict="different", exit_code=0, cpu="Two", cpus=1, libraries=("libx.so",))
        )
    ]

    assert causes == ["system-library", "threads", "cpu", "nondeterminism"]


def test_other_kernels_are_a_finding_and_other_paths_are_not():
    """What a process had loaded is compared without where it lay."""
    before = [{"filepath": "/a/libopenblas.so", "internal_api": "openblas", "architecture": "SkylakeX"}]
    same = [{"filepath": "/env/libopenblas.so", "internal_api": "openblas", "architecture": "SkylakeX"}]
    other = [{"filepath": "/env/libopenblas.so", "internal_api": "openblas", "architecture": "Haswell"}]
    recorded = run(effective={"libraries": json.dumps(before)})

    def causes(now):
        again = rerun(verdict="different", exit_code=0, effective={"libraries": json.dumps(now)})
        return [item.cause for item in diagnose(recorded, again)]

    assert causes(same) == ["nondeterminism"]
    assert causes(other) == ["numeric-libraries", "nondeterminism"]


def test_what_the_record_admits_is_a_finding():
    """Inputs that changed meanwhile, files that were read and not declared, no profile."""
    entry = TrackedPath(b"data", Kind.FILE, BlobId(bytes(32)), 1, 1)
    recorded = run(
        changed_inputs=(entry,), observed=Observed("audit-hook", undeclared=("x",)), profile="none"
    )
    causes = [item.cause for item in diagnose(recorded, rerun(verdict="different", exit_code=0))]

    assert causes == ["input-changed", "undeclared-input", "unpinned", "nondeterminism"]


def test_an_undeclared_file_that_changed_since_is_named_first():
    """One that is the same, is not there, or had no digest is only one that was not declared."""
    digests = {name: str(BlobId.of(b"then")) for name in ("gone", "other", "same")}
    recorded = run(
        observed=Observed("audit-hook", undeclared=("gone", "large", "other", "same"), digests=digests)
    )
    present = {"other": str(BlobId.of(b"now")), "same": digests["same"]}

    told = [
        item.detail
        for item in report_causes(recorded, rerun(verdict="different", exit_code=0), present=present)
        if item.cause == "undeclared-input"
    ]

    assert [
        "other was read and not declared, and no longer what the run read",
        "read but not declared when the run was recorded: gone, large, same",
    ] == told


def test_a_missing_file_is_named_with_the_bytes_that_it_had():
    """So that the right one can be found again."""
    digest = str(BlobId.of(b"then"))
    recorded = run(observed=Observed("audit-hook", undeclared=("x",), digests={"x": digest}))

    first = diagnose(recorded, rerun(b"FileNotFoundError: [Errno 2] No such file or directory: '../x'"))[0]

    assert ("undeclared-input", True) == (first.cause, f"recorded as {digest[:15]};" in first.detail)


def test_a_hostile_log_gives_findings_that_can_be_stored():
    """Control characters, half surrogates and endless names come from the command."""
    log = b"[Errno 2] No such file or directory: '\\ud800\x1b[31m" + b"x" * 5000 + b"'\n" + bytes(range(256))
    findings = diagnose(RUN, rerun(log))

    verdict = Verdict(run=RUN.id, verdict="failed", diagnosis=findings)
    assert Verdict.decode(verdict.encode()) == verdict
    assert all(item.detail.isprintable() and len(item.detail) <= 1000 for item in findings)


def output(verdict, *places):
    return OutputVerdict("model.pkl", verdict, "b3:0", "b3:1", "", places)


ADDRESS = Difference("$._stop_words_id", "value", "1", "2", rule="sklearn.TfidfVectorizer._stop_words_id")
HEADERS = Difference("", "container", rule="zip.headers")
ROUNDED = Difference("$.w", "numeric", dtype="float64", norm="2e-13")
SHAPE = Difference("$.w", "structure")


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([output("equivalent", ADDRESS)], True),
        ([output("equivalent", ADDRESS), output("identical")], True),
        ([output("equivalent", ADDRESS, HEADERS)], False),
        ([output("equivalent")], False),
        ([output("close", ROUNDED)], False),
    ],
)
def test_a_rule_explains_a_difference_by_its_name(outputs, expected):
    """But not the headers of a zip, which come from the clock or from another library."""
    assert expected == is_explained(outputs)


@pytest.mark.parametrize(
    ("place", "cause"), [(ROUNDED, "threads"), (SHAPE, "undeclared-input"), (HEADERS, "undeclared-input")]
)
def test_what_the_differences_look_like_ranks_the_causes(place, cause):
    """Rounding speaks for threads and kernels, structure for other data or seeds."""
    assert cause == ranked([output("different", place)])[0]


@pytest.mark.parametrize("count", [1, 9])
def test_numbers_that_are_wholly_others_are_no_rounding(count):
    """Sums in another order give nearly the same; a forest with another seed does not, in few places or many."""
    places = [Difference(f"$.w[{n}]", "numeric", dtype="float64", norm="0.411") for n in range(count)]
    outputs = [output("different", *places)]

    findings = report_causes(
        RUN, dataclasses.replace(rerun(verdict="different", exit_code=0), outputs=outputs)
    )

    assert "undeclared-input" == ranked(outputs)[0]
    assert ["nondeterminism"] == [item.cause for item in findings]
