"""A pin is held, overridden or ignored, and only the libraries' own answers say which."""

import pytest

from mlvc.repro.pins import judge
from mlvc.repro.trace import Process

SIMD = {"version": "2.4.6", "simd": ["X86_V3"], "dispatch": ["X86_V3", "X86_V4"]}


def blas(threads=2, **changes):
    return {
        "file": "libopenblas.so",
        "internal_api": "openblas",
        "num_threads": threads,
        "architecture": "Haswell",
        **changes,
    }


def process(name, value, *, loaded=(), began_in="C.UTF-8", **at_exit):
    """A process that kept its variable, and what its libraries said."""
    return Process(1, 0, began_in, list(loaded), {"variables": {name: value}, "affinity": 2, **at_exit}, 1)


def verdict(name, value, **facts):
    return judge({name: value}, [process(name, value, **facts)]).get(name)


def test_what_the_library_says_is_held():
    """After the import and at the end."""
    loaded = [{"libraries": [blas()]}]

    assert "held" == verdict("OPENBLAS_NUM_THREADS", "2", loaded=loaded, libraries=[blas()])


def test_what_is_wrong_right_after_the_import_was_ignored():
    """The program had no time to do it."""
    found = verdict("OPENBLAS_NUM_THREADS", "2", loaded=[{"libraries": [blas(1)]}], libraries=[blas(1)])

    assert "ignored: libopenblas.so has 1 thread" == found


def test_what_changes_later_was_overridden():
    """`threadpool_limits(1)`, for example; a library that another import brings later is not to blame."""
    loaded = [{"libraries": [blas()]}, {"libraries": [blas(1)], "torch": {}}]
    found = verdict("OPENBLAS_NUM_THREADS", "2", loaded=loaded, libraries=[blas(1)])

    assert "overridden: libopenblas.so has 1 thread" == found


def test_a_variable_that_the_program_changed_was_overridden():
    """Whatever the library made of it."""
    report = process("OMP_NUM_THREADS", "1", loaded=[{"libraries": [blas(1)]}])

    assert {"OMP_NUM_THREADS": "overridden: set to 1"} == judge({"OMP_NUM_THREADS": "2"}, [report])


def test_threads_that_follow_the_cpus_were_ignored():
    """OpenBLAS takes no more threads than there are CPUs, and no program asks for that."""
    found = verdict("OPENBLAS_NUM_THREADS", "4", libraries=[blas(2)])

    assert "ignored: libopenblas.so has 2 threads" == found


@pytest.mark.parametrize("changes", [{"most_threads": 64}, {"threading_layer": "disabled"}])
def test_a_library_that_was_built_for_fewer_threads_holds(changes):
    """It has the same number everywhere; a library without threads is not asked at all."""
    assert verdict("OPENBLAS_NUM_THREADS", "128", libraries=[blas(64, **changes)]) in {"held", None}


@pytest.mark.parametrize(
    ("name", "value", "facts", "found"),
    [
        (
            "OPENBLAS_CORETYPE",
            "Zen",
            {"libraries": [blas()]},
            "ignored: libopenblas.so runs on its kernels for Haswell",
        ),
        ("NPY_DISABLE_CPU_FEATURES", "AVX512F", {"numpy": SIMD}, "ignored: NumPy 2.4.6 knows no AVX512F"),
        ("NPY_DISABLE_CPU_FEATURES", "X86_V3", {"numpy": SIMD}, "ignored: NumPy still uses X86_V3"),
        ("NPY_DISABLE_CPU_FEATURES", "X86_V4", {"numpy": SIMD}, "held"),
        ("ATEN_CPU_CAPABILITY", "avx2", {"torch": {"capability": "AVX512"}}, "ignored: torch uses AVX512"),
        ("PYTHONHASHSEED", "0", {"hash_randomization": 1}, "ignored: hashes are randomised"),
        ("TZ", "UTC", {"time_zone": ["CET", "CEST", -3600]}, "overridden: the time zone is CET"),
        ("LC_ALL", "C.UTF-8", {"locale": "C.utf8"}, "held"),
        ("LC_ALL", "C.UTF-8", {"locale": "de_DE.UTF-8"}, "overridden: the locale is de_DE.UTF-8"),
        ("MKL_CBWR", "COMPATIBLE", {}, None),
        ("OPENBLAS_NUM_THREADS", "2", {}, None),
    ],
)
def test_each_kind_of_pin_has_its_own_probe(name, value, facts, found):
    """What no program can change was ignored; what nothing can be asked about is left out."""
    assert found == verdict(name, value, **facts)


def test_a_locale_that_the_system_lacks_was_ignored():
    """Python then starts with another one."""
    found = verdict("LC_ALL", "C.UTF-8", began_in="C")

    assert "ignored: this system has no locale C.UTF-8, C is in force" == found


def test_torch_is_settled_after_its_import():
    """So only the end counts; a program that switches determinism off overrides it."""
    torch = {"deterministic": False, "cudnn_benchmark": False, "capability": "AVX2"}
    at_exit = {"variables": {}, "torch": torch}
    report = Process(1, 0, "", [{"torch": torch}], at_exit)

    assert {"MLVC_DETERMINISTIC": "overridden: torch's deterministic algorithms are off"} == judge(
        {"MLVC_DETERMINISTIC": "1"}, [report]
    )


def test_the_worst_process_counts():
    """A child whose library ignored the pin is not made good by its parent."""
    pins = {"OPENBLAS_NUM_THREADS": "2"}
    good, bad = (
        process("OPENBLAS_NUM_THREADS", "2", loaded=[{"libraries": [blas(threads)]}]) for threads in (2, 1)
    )

    assert judge(pins, [good, bad]) == judge(pins, [bad, good])
    assert judge(pins, [bad])["OPENBLAS_NUM_THREADS"].startswith("ignored")


@pytest.mark.parametrize(
    "facts",
    [
        {"libraries": 3},
        {"libraries": [{}]},
        {"libraries": [blas("two")], "numpy": []},
        {"variables": None},
        {"numpy": {"simd": 1, "dispatch": None}},
    ],
)
def test_a_report_of_another_form_tells_nothing(facts):
    """A command may write anything into its trace."""
    report = Process(1, 0, "", [facts], {"variables": {}, **facts})

    assert all(
        found.startswith(("overridden", "ignored"))
        for found in judge({"OPENBLAS_NUM_THREADS": "2", "NPY_DISABLE_CPU_FEATURES": "X"}, [report]).values()
    )
