"""Determinism profiles: the variables that each pins, and the variables that a record must keep.

`strict` fixes what one machine needs to repeat itself, `portable` also what different x86-64 machines need, `none`
fixes nothing. None of them seeds: only `seed` does. Measurements behind the lists: docs/guides/reproducibility.md
"""

from __future__ import annotations

import functools
import hmac
import os
import re
from collections.abc import Collection, Mapping
from fnmatch import translate

from mlvc.errors import UsageError
from mlvc.model.names import encode_name

__all__ = [
    "NUMERIC_VARIABLES",
    "PROFILES",
    "THREAD_VARIABLES",
    "SecretVariableError",
    "digest_rest",
    "is_numeric",
    "pins",
    "refuse_secrets",
    "select_variables",
    "unset",
]

PROFILES = ("strict", "portable", "none")

NUMERIC_VARIABLES = (
    "ATEN_*",
    "BLIS_*",
    "CUBLAS_*",
    "CUDA_*",
    "CUDNN_*",
    "DNNL_*",
    "GLIBC_TUNABLES",
    "GOMP_*",
    "GOTO_*",
    "HF_*",
    "JAX_*",
    "JOBLIB_*",
    "KERAS_*",
    "KMP_*",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LOKY_*",
    "MALLOC_*",
    "MKL_*",
    "NCCL_*",
    "NPY_*",
    "NUMBA_*",
    "NUMEXPR_*",
    "NVIDIA_TF32_OVERRIDE",
    "NVPL_*",
    "OMP_*",
    "ONEDNN_*",
    "OPENBLAS_*",
    "PYTHON*",
    "PYTORCH_*",
    "SCIPY_*",
    "SKLEARN_*",
    "SOURCE_DATE_EPOCH",
    "TF_*",
    "TF2_*",
    "TOKENIZERS_*",
    "TORCH*",
    "TZ",
    "XLA_*",
    "BLAS_*",
    "VECLIB_*",
    "*_NUM_THREADS",
)
"""Patterns of the variables that can change a result; those that are set are part of a record."""

# What only concerns an interactive Python, or where mlvc itself puts something.
_IRRELEVANT = (
    "PYTHONSTARTUP",
    "PYTHONUNBUFFERED",
    "PYTHON_HISTORY",
    "PYTHONINSPECT",
    # Terraform's, whose names begin like TensorFlow's.
    "TF_APPEND_USER_AGENT",
    "TF_CLI_*",
    "TF_CLOUD_*",
    "TF_DATA_DIR",
    "TF_IGNORE",
    "TF_INPUT",
    "TF_IN_AUTOMATION",
    "TF_LOG*",
    "TF_PLUGIN_*",
    "TF_REATTACH_*",
    "TF_REGISTRY_*",
    "TF_STATE_*",
    "TF_VAR_*",
    "TF_WORKSPACE",
)
# What every shell sets anew.
_EVER_CHANGING = ("_", "OLDPWD", "PWD", "SHLVL")
_DIGITS = 16
_SECRET = ("*TOKEN*", "*SECRET*", "*PASSWORD*", "*KEY*")

_STRICT = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONUTF8": "1",
    "TZ": "UTC",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "OMP_DYNAMIC": "FALSE",
    "MKL_DYNAMIC": "FALSE",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "NCCL_ALGO": "Ring",
    "TF_DETERMINISTIC_OPS": "1",
    "TF_CUDNN_DETERMINISTIC": "1",
    "MLVC_DETERMINISTIC": "1",
}
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
# Every x86-64 machine with AVX2 takes the same kernels then. An OpenBLAS cache size is not a kernel, but it decides
# how a product is cut into blocks.
_PORTABLE = {
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
}


_BEYOND_AVX2 = ("AVX512", "X86_V4", "X86_V5")
_USUAL_DISPATCH = ("X86_V3", "X86_V4", "AVX512_ICL", "AVX512_SPR")
"""That of NumPy 2.4."""
# It changes how OpenBLAS cuts its blocks, and it cannot be set to what the library would have found itself.
_UNSET_IN_PORTABLE = ("OPENBLAS_L2_SIZE",)


class SecretVariableError(UsageError):
    """A variable that would be recorded looks like a secret."""

    code = "secret-variable"


def pins(
    profile: str,
    *,
    threads: int,
    seed: int | None = None,
    source_date_epoch: int | None = None,
    numpy_dispatch: Collection[str] = _USUAL_DISPATCH,
) -> dict[str, str]:
    """Returns the variables that a profile sets, over whatever the caller's environment says.

    Args:
        profile: One of `PROFILES`.
        threads: The number of threads of every library; ignored by `none`.
        seed: What to seed the generators with; None seeds nothing.
        source_date_epoch: The time that programs put into files, in seconds; None leaves it alone.
        numpy_dispatch: The instruction sets that the environment's NumPy chooses from, whatever this CPU has; it
            ignores a name that it does not know in silence.

    Raises:
        UsageError: There is no such profile, or the number of threads makes no sense.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", hint=f"one of {', '.join(PROFILES)}")
    pinned: dict[str, str] = {}
    if profile != "none":
        if threads < 1:
            raise UsageError("--threads must be at least 1")
        pinned |= _STRICT | dict.fromkeys(THREAD_VARIABLES, str(threads))
        if source_date_epoch is not None:
            pinned["SOURCE_DATE_EPOCH"] = str(source_date_epoch)
    if profile == "portable":
        pinned |= _PORTABLE
        beyond = [name for name in numpy_dispatch if name.startswith(_BEYOND_AVX2)]
        if beyond:
            pinned["NPY_DISABLE_CPU_FEATURES"] = " ".join(beyond)
    if seed is not None:
        pinned["MLVC_SEED"] = str(seed)
    return pinned


def select_variables(
    environment: Mapping[str, str], declared: Mapping[str, str], *, pinned: Collection[str] = ()
) -> dict[str, str]:
    """Returns the variables that belong into a record: those that can change numbers, and the declared ones.

    They stay as the caller has them, and a reproduction sets them the same.

    Args:
        environment: The caller's variables.
        declared: What the user asked to set and record.
        pinned: Names that the profile sets or unsets anyway; what the caller had there does not matter.

    Raises:
        UsageError: A value is no text.
    """
    selected = {
        name: value
        for name, value in environment.items()
        if _matches(name, NUMERIC_VARIABLES)
        and not _matches(name.upper(), _SECRET)
        and not _matches(name, _IRRELEVANT)
        and name not in pinned
    }
    selected |= declared
    for name, value in selected.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the value of {name} is not UTF-8, so it cannot be recorded", hint=f"unset {name}"
            ) from None
    return selected


def digest_rest(environment: Mapping[str, str], recorded: Collection[str], key: bytes) -> dict[str, str]:
    """Returns digests of the variables that are passed on and not recorded, so that a change of one can be found.

    They are keyed, because the value of a short secret could be guessed from a plain one; what looks like a secret
    has none at all.

    Args:
        environment: The caller's variables.
        recorded: Names whose values the record has, or that are secrets by the user's own word.
        key: Known to this clone alone.
    """
    return {
        encode_name(os.fsencode(name)): hmac.new(key, os.fsencode(value), "sha256").hexdigest()[:_DIGITS]
        for name, value in sorted(environment.items())
        if name not in recorded and name not in _EVER_CHANGING and not _matches(name.upper(), _SECRET)
    }


def unset(profile: str) -> Collection[str]:
    """Returns the variables that a profile takes away from the caller's environment."""
    return _UNSET_IN_PORTABLE if profile == "portable" else ()


def is_numeric(name: str) -> bool:
    """Returns whether a variable belongs into a record because it can change numbers."""
    return _matches(name, NUMERIC_VARIABLES)


def refuse_secrets(declared: Mapping[str, str]) -> None:
    """Refuses to record variables whose names look like secrets.

    Raises:
        SecretVariableError: One does.
    """
    for name in declared:
        if _matches(name.upper(), _SECRET):
            raise SecretVariableError(
                f"{name} looks like a secret, and everything given with --env is recorded",
                hint=f"--secret {name} passes it on without recording it",
            )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return _expression(patterns).match(name) is not None


@functools.cache
def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Returns one expression for all patterns: every variable of the caller is compared with each."""
    return re.compile("|".join(map(translate, patterns)))
