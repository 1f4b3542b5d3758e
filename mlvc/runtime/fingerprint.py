"""Digests of a battery of small numeric operations, to name the layer that computes differently elsewhere.

Run in the environment and with the variables of a recorded command: `fingerprint.py fingerprint` prints one JSON
object, name to digest; `fingerprint.py dispatch` a list of the instruction sets that NumPy chooses from.
The inputs come from integer arithmetic, not from a random generator, so that they are the same everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
from collections.abc import Callable

_N = 96


def _inputs(count: int) -> list[float]:
    state, values = 12345, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        values.append(state / 2**31 * 8 - 4)
    return values


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _math_digests() -> dict[str, str]:
    values = _inputs(2000)
    functions: dict[str, Callable[[float], float]] = {
        "exp": math.exp,
        "sin": math.sin,
        "tanh": math.tanh,
        "erf": math.erf,
        "log": lambda x: math.log(abs(x) + 1e-3),
        "pow": lambda x: (abs(x) + 0.5) ** 1.7,
    }
    return {
        f"math.{name}": _digest(b"".join(struct.pack("<d", function(x)) for x in values))
        for name, function in functions.items()
    }


def _numpy_digests() -> dict[str, str]:
    try:
        import numpy as np
    except ImportError:
        return {}
    f64 = np.array(_inputs(_N * _N)).reshape(_N, _N)
    f32 = f64.astype(np.float32)
    positive = np.abs(f64) + 1e-3
    results = {
        "dgemm": f64 @ f64,
        "sgemm": f32 @ f32,
        "dot": np.dot(f64.ravel(), f64.ravel()),
        "sum64": f64.sum(),
        "sum32": f32.sum(),
        "exp": np.exp(f64),
        "log": np.log(positive),
        "sin": np.sin(f64),
        "tanh": np.tanh(f64),
        "cbrt": np.cbrt(f64),
        "sqrt32": np.sqrt(positive.astype(np.float32)),
        "svd": np.linalg.svd(f64[:32, :32])[1],
        "solve": np.linalg.solve(f64 + 10 * np.eye(_N), f64[0]),
        "legacy_normal": np.random.RandomState(7).randn(1000),
        "pcg64_normal": np.random.default_rng(7).standard_normal(1000),
    }
    return {
        f"numpy.{name}": _digest(np.ascontiguousarray(value).tobytes()) for name, value in results.items()
    }


def _torch_digests() -> dict[str, str]:
    try:
        import torch
    except ImportError:
        return {}
    functional = torch.nn.functional
    f64 = torch.tensor(_inputs(_N * _N), dtype=torch.float64).reshape(_N, _N)
    f32 = f64.float()
    positive = f32.abs() + 1e-3
    image = f32.reshape(1, 4, _N // 2, _N // 2)
    generator = torch.Generator().manual_seed(7)
    results = {
        "sgemm": f32 @ f32,
        "dgemm": f64 @ f64,
        "sqrt32": positive.sqrt(),
        "rsqrt32": positive.rsqrt(),
        "exp32": f32.exp(),
        "tanh32": f32.tanh(),
        "sum32": f32.sum(),
        "softmax": functional.softmax(f32, dim=1),
        "conv2d": functional.conv2d(image, f32[:72].reshape(-1)[: 8 * 4 * 9].reshape(8, 4, 3, 3)),
        "layer_norm": functional.layer_norm(f32, (_N,)),
        "normal": torch.randn(1000, generator=generator),
        "uniform": torch.rand(1000, generator=generator),
    }
    return {
        f"torch.{name}": _digest(bytes(value.contiguous().view(-1).view(torch.uint8).tolist()))
        for name, value in results.items()
    }


def _random_digests() -> dict[str, str]:
    import random

    generator = random.Random(7)  # noqa: S311  # its stream is what is asked for
    values = [generator.gauss(0, 1) for _ in range(1000)]
    return {"random.gauss": _digest(b"".join(struct.pack("<d", x) for x in values))}


def _fingerprint() -> dict[str, str]:
    return {**_math_digests(), **_random_digests(), **_numpy_digests(), **_torch_digests()}


def _dispatch() -> list[str]:
    """Returns the instruction sets that NumPy chooses from."""
    try:
        import numpy as np  # noqa: F401
    except ImportError:
        return []
    names = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
    (module, *_) = (sys.modules[name] for name in names if name in sys.modules)
    return list(module.__cpu_dispatch__)


if __name__ == "__main__":
    questions: dict[str, Callable[[], object]] = {"dispatch": _dispatch, "fingerprint": _fingerprint}
    print(json.dumps(questions[sys.argv[1]](), sort_keys=True))
