"""The line that mends a run, as a person would type it."""

import pytest

from mlvc.cli.remedy import find_remedy
from mlvc.model.ids import BlobId, PlanId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Cause, Code, Observed, Run
from mlvc.model.tree import Kind


def tracked(path):
    return TrackedPath(path, Kind.FILE, BlobId(bytes(32)), 1, 1)


def recorded(**changes):
    fields = {
        "plan": PlanId(bytes(32)),
        "argv": ("python", "train.py", "--name", "two words"),
        "directory": "",
        "project": "/home/u/p",
        "code": Code(None, dirty=False, tree=TreeId(bytes(32))),
        "name": "train",
        "inputs": (tracked(b"data"),),
        "outputs": (tracked(b"models/m.bin"),),
    }
    return Run(**{**fields, **changes})


def remedy(cause, **changes):
    return find_remedy(recorded(**changes), Cause(cause, "whatever"))


@pytest.mark.parametrize(
    ("cause", "options"),
    [
        ("nondeterminism", " --seed 0"),
        ("cpu", " --profile portable --threads 1"),
        ("threads", " --threads 1"),
        ("unpinned", " --profile strict"),
        ("input-changed", ""),
    ],
)
def test_the_run_itself_with_one_option_changed(cause, options):
    """Inputs, outputs and command are as they were recorded, quoted for a shell."""
    changes = {"profile": "none"} if cause == "unpinned" else {}

    assert (
        f"mlvc run -n train -i data -o models/m.bin{options} -- python train.py --name 'two words'"
        == remedy(cause, **changes)
    )


@pytest.mark.parametrize(
    ("cause", "held"),
    [
        ("hash-seed", {"profile": "strict"}),
        ("hash-seed", {"profile": "portable"}),
        ("threads", {"threads": 1}),
        ("nondeterministic-operation", {"profile": "strict", "threads": 1}),
        ("numeric-libraries", {"profile": "portable", "threads": 1}),
        ("nondeterminism", {"seed": 3}),
    ],
)
def test_what_was_recorded_that_way_already_has_no_line(cause, held):
    """The same command would give the same again."""
    assert remedy(cause, **held) is None


def test_an_operation_that_no_profile_holds_gets_one_thread():
    """Where the profile did not turn deterministic algorithms on, that comes first."""
    assert " --threads 1 --" in remedy("nondeterministic-operation", profile="strict", threads=2)
    assert " --profile strict --" in remedy("nondeterministic-operation", profile="none", threads=2)


def test_files_that_were_read_become_inputs():
    """Those of the project; nothing can be said about a file outside it."""
    line = remedy("undeclared-input", observed=Observed(undeclared=("extra.csv", "/etc/motd", "more.csv")))

    assert "mlvc run -n train -i data -i extra.csv -i more.csv -o models/m.bin --" in line
    assert remedy("undeclared-input", observed=Observed(undeclared=("/etc/motd",))) is None


def test_everything_that_was_asked_for_is_asked_for_again():
    """From the directory that it was recorded in."""
    line = remedy(
        "threads",
        name=None,
        directory="src",
        missing_outputs=("src/log.txt",),
        params_files=("params.toml",),
        metrics_files=("src/m.json",),
        secrets=("TOKEN",),
        engine="docker",
        profile="portable",
        seed=3,
    )

    assert (
        "mlvc -C src run -i ../data -o ../models/m.bin -o log.txt --params ../params.toml --metrics m.json"
        " --secret TOKEN --engine docker --profile portable --seed 3 --threads 1"
        " -- python train.py --name 'two words'" == line
    )


def test_what_no_command_mends_has_no_line():
    """The finding tells what to do."""
    assert remedy("memory") is None
    assert remedy("network") is None


@pytest.mark.parametrize("name", [b"a\nb", b"50%", "a\u202eb".encode(), b"\xff"])
def test_a_name_that_could_not_be_typed_as_shown_gives_no_line(name):
    """Better none than one that names another file."""
    assert remedy("threads", inputs=(tracked(name),)) is None
