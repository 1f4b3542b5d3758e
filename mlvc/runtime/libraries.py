"""Asks the numerical libraries that a process has loaded what they really do: kernels, threads, instruction sets.

Loaded by `sitecustomize.py` from beside it, never before the program itself has loaded such a library.
It asks through the libraries' own functions and changes nothing. threadpoolctl knows the same functions; it is not
used, because the environment may lack it, and importing it is not the program's own doing.

    library                        functions
    OpenBLAS                       [scipy_]openblas_get_{num_threads,config,corename,parallel}[64_]
    MKL, also inside libtorch_cpu  MKL_Get_Max_Threads, MKL_Get_Version_String, mkl_get_dynamic
    BLIS                           bli_thread_get_num_threads, bli_info_get_version_str, bli_arch_query_id
    libgomp, libiomp5, libomp      omp_get_max_threads, omp_get_dynamic
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

__all__ = [
    "joblib_facts",
    "mapped_files",
    "numexpr_facts",
    "numpy_facts",
    "thread_pools",
    "torch_facts",
]

_LAYERS = {0: "disabled", 1: "pthreads", 2: "openmp"}
_VERSION_BYTES = 256


def mapped_files() -> list[str]:
    """Returns the files that are mapped into this process, sorted; empty where the system does not tell."""
    try:
        with open("/proc/self/maps", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found = {line[line.index(b"/") :] for line in lines if b"/" in line}
    return sorted(os.fsdecode(name) for name in found if not name.endswith(b" (deleted)"))


def thread_pools() -> list[dict[str, Any]]:
    """Returns the thread pools of the loaded libraries, in the form in which threadpoolctl has them.

    `file` is the library's name alone: the directory is another one in a container.
    """
    pools = []
    for path in mapped_files():
        file = os.path.basename(path)
        for mark, ask in _PROBES:
            if mark in file:
                found = ask(path)
                if found is not None:
                    pools.append({"file": file, **found})
                break
    return pools


def _open(path: str) -> ctypes.CDLL | None:
    try:
        # Loaded already: this takes a reference to it, and nothing of it runs.
        return ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return None


def _call(library: ctypes.CDLL, names: list[str], kind: Any = ctypes.c_int) -> Any:
    """Calls the first of the functions that the library has; None where it has none of them."""
    for name in names:
        function = getattr(library, name, None)
        if function is not None:
            function.restype = kind
            function.argtypes = []
            value = function()
            return value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return None


def _openblas(path: str) -> dict[str, Any] | None:
    library = _open(path)
    if library is None:
        return None

    def ask(name: str, kind: Any = ctypes.c_int) -> Any:
        names = [
            f"{prefix}openblas_{name}{suffix}"
            for prefix in ("", "scipy_")
            for suffix in ("", "64_", "_64", "64")
        ]
        return _call(library, names, kind)

    threads = ask("get_num_threads")
    if threads is None:
        return None
    config = (ask("get_config", ctypes.c_char_p) or "").split()
    pool = {
        "user_api": "blas",
        "internal_api": "openblas",
        "prefix": "libscipy_openblas" if "scipy" in os.path.basename(path) else "libopenblas",
        "version": config[1] if config[:1] == ["OpenBLAS"] and len(config) > 1 else None,
        "threading_layer": _LAYERS.get(ask("get_parallel"), "unknown"),
        "architecture": ask("get_corename", ctypes.c_char_p),
        "num_threads": threads,
    }
    for word in config:
        if word.startswith("MAX_THREADS="):
            pool["most_threads"] = int(word.partition("=")[2])
    return pool


def _mkl(path: str) -> dict[str, Any] | None:
    library = _open(path)
    if library is None:
        return None
    threads = _call(library, ["MKL_Get_Max_Threads"])
    if threads is None:
        return None
    version = None
    if hasattr(library, "MKL_Get_Version_String"):
        text = ctypes.create_string_buffer(_VERSION_BYTES)
        library.MKL_Get_Version_String(text, _VERSION_BYTES - 1)
        version = text.value.decode("ascii", "replace").strip()
    pool = {
        "user_api": "blas",
        "internal_api": "mkl",
        "prefix": "libmkl",
        "version": version,
        "num_threads": threads,
    }
    dynamic = _call(library, ["MKL_Get_Dynamic", "mkl_get_dynamic"])
    return pool if dynamic is None else {**pool, "dynamic": bool(dynamic)}


def _blis(path: str) -> dict[str, Any] | None:
    library = _open(path)
    threads = None if library is None else _call(library, ["bli_thread_get_num_threads"])
    if library is None or threads is None:
        return None
    version = _call(library, ["bli_info_get_version_str"], ctypes.c_char_p)
    return {
        "user_api": "blas",
        "internal_api": "blis",
        "prefix": "libblis",
        "version": version,
        "num_threads": threads,
    }


def _openmp(path: str) -> dict[str, Any] | None:
    library = _open(path)
    threads = None if library is None else _call(library, ["omp_get_max_threads"])
    if library is None or threads is None:
        return None
    pool = {
        "user_api": "openmp",
        "internal_api": "openmp",
        "prefix": os.path.basename(path).partition("-")[0].partition(".")[0],
        "version": None,
        "num_threads": threads,
    }
    dynamic = _call(library, ["omp_get_dynamic"])
    return pool if dynamic is None else {**pool, "dynamic": bool(dynamic)}


_PROBES = (
    ("openblas", _openblas),
    ("libmkl_rt", _mkl),
    ("libtorch_cpu", _mkl),
    ("libblis", _blis),
    ("libgomp", _openmp),
    ("libiomp", _openmp),
    ("libomp", _openmp),
)


def numpy_facts() -> dict[str, Any] | None:
    """Returns NumPy's version and the instruction sets that it uses; None where NumPy is not loaded."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    module = sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]
    features: dict[str, bool] = module.__cpu_features__
    return {
        "version": numpy.__version__,
        "simd": sorted(name for name, on in features.items() if on),
        "dispatch": list(module.__cpu_dispatch__),
    }


def torch_facts() -> dict[str, Any] | None:
    """Returns torch's switches; None where torch is not loaded. Initialises no GPU."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    facts = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "float32_precision": torch.get_float32_matmul_precision(),
    }
    if torch.cuda.is_initialized():
        device = torch.cuda.get_device_properties(torch.cuda.current_device())
        facts["cuda"] = {
            "version": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "device": device.name,
            "capability": f"{device.major}.{device.minor}",
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        }
    return facts


def numexpr_facts() -> dict[str, Any] | None:
    """Returns numexpr's number of threads; None where it is not loaded."""
    numexpr = sys.modules.get("numexpr")
    if numexpr is None:
        return None
    return {"version": numexpr.__version__, "threads": numexpr.nthreads, "most_threads": numexpr.MAX_THREADS}


def joblib_facts() -> dict[str, Any] | None:
    """Returns how many processes joblib would start; None where it is not loaded."""
    joblib = sys.modules.get("joblib")
    return None if joblib is None else {"version": joblib.__version__, "cpus": joblib.cpu_count()}
