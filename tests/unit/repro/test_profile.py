"""Profiles pin what they say, and a record keeps what changes numbers and no secret."""

import pytest

from mlvc.errors import UsageError
from mlvc.repro.profile import PROFILES, SecretVariableError, pins, refuse_secrets, select_variables


def test_strict_pins_every_library_to_the_same_number_of_threads():
    """And fixes hash seed, locale and time zone."""
    pinned = pins("strict", threads=3)

    assert {pinned[name] for name in pinned if name.endswith("_NUM_THREADS")} == {"3"}
    assert (pinned["PYTHONHASHSEED"], pinned["TZ"], pinned["LC_ALL"]) == ("0", "UTC", "C.UTF-8")


def test_portable_adds_kernels_to_strict():
    """It changes nothing of what `strict` pins."""
    strict, portable = pins("strict", threads=1), pins("portable", threads=1)

    assert strict.items() <= portable.items()
    assert portable["OPENBLAS_CORETYPE"] == "Haswell"


def test_none_pins_nothing():
    """Not even threads."""
    assert pins("none", threads=0) == {}


@pytest.mark.parametrize("profile", PROFILES)
def test_only_a_seed_seeds(profile):
    """No profile seeds by itself; with a seed, every one hands it on."""
    assert "MLVC_SEED" not in pins(profile, threads=1)
    assert pins(profile, threads=1, seed=0)["MLVC_SEED"] == "0"


def test_the_time_in_files_is_pinned_where_it_is_known():
    """`SOURCE_DATE_EPOCH` is set by `strict`, and never by `none`."""
    assert pins("strict", threads=1, source_date_epoch=7)["SOURCE_DATE_EPOCH"] == "7"
    assert pins("none", threads=1, source_date_epoch=7) == {}


@pytest.mark.parametrize(("profile", "threads"), [("strict", 0), ("strict", -1), ("loose", 1)])
def test_nonsense_is_refused(profile, threads):
    """An unknown profile, or no threads at all."""
    with pytest.raises(UsageError):
        pins(profile, threads=threads)


def test_what_changes_numbers_is_kept_as_it_is():
    """A kernel that a login shell exports is in the record, so that the reproduction has it too."""
    environment = {
        "OPENBLAS_CORETYPE": "Haswell",
        "RAYON_NUM_THREADS": "2",
        "LC_NUMERIC": "de_DE",
        "HOME": "/home/u",
        "PATH": "/bin",
        "HF_TOKEN": "hf_x",
        "CUDA_API_KEY": "x",
        "PYTHONSTARTUP": "x",
    }

    assert select_variables(environment, {"MODE": "fast"}) == {
        "OPENBLAS_CORETYPE": "Haswell",
        "RAYON_NUM_THREADS": "2",
        "LC_NUMERIC": "de_DE",
        "MODE": "fast",
    }


def test_what_the_profile_sets_anyway_need_not_be_kept():
    """So the caller's own setting does not make another plan."""
    assert select_variables({"TZ": "Asia/Tokyo"}, {}, pinned=pins("strict", threads=1)) == {}


def test_a_value_that_is_no_text_is_refused():
    """It could not be recorded as it is."""
    with pytest.raises(UsageError, match="LD_PRELOAD"):
        select_variables({"LD_PRELOAD": "/caf\udce9.so"}, {})


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS", "hf_token", "DB_PASSWORD", "API_KEY"])
def test_a_secret_is_refused(name):
    """By its name, in any case; the message names the way."""
    with pytest.raises(SecretVariableError, match=name) as caught:
        refuse_secrets({name: "x"})

    assert f"--secret {name}" in caught.value.hint
    refuse_secrets({"DEPTH": "3"})
