"""Answers of `mlvc repro`, made of real objects without a repository, for whatever shows them."""

from typing import Any

from mlvc.cli.reproduced import reproduced_json
from mlvc.model.ids import BlobId, EnvironmentId, PlanId, RunId, TreeId, VerdictId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Code, Difference, OutputVerdict, Run, Verdict
from mlvc.model.tree import Kind
from mlvc.verbs.repro import Reproduced

__all__ = ["HOSTILE", "answer", "finding", "missed", "output", "place", "run"]

HOSTILE = [
    "a | b | c",
    "a \\| b \\\\| c",
    "`</code><img src=x onerror=alert(1)>`",
    "``` ` `` ````",
    "[click](https://evil.example) ![x](https://evil.example/x.png)",
    "https://evil.example www.evil.example me@evil.example",
    "<script>alert(1)</script> <!-- ",
    "\"' onload='alert(1)' x=\"",
    "</title></style></svg></table></main><h1>",
    "one\n\n# two\r\n| x |\n|---|\u2028\u2029\x85three",
    "@everyone #1 ~~gone~~ **bold** - [ ] task",
    "abc\u202egnp.exe\u200b",
    "&lt;b&gt; &#124; \\`",
    "\ud800\x00\x1b[31m\ufffe",
    "::error file=x::y%0A::add-mask::z",
    " ",
    "`",
    "\\",
    "x" * 5000,
]


def place(where: str = "layer1.weight", nature: str = "numeric", **fields: Any) -> Difference:
    return Difference(where, nature, **fields)


def output(
    path: str = "model.bin", verdict: str = "identical", detail: str = "", differences: Any = ()
) -> OutputVerdict:
    return OutputVerdict(path, verdict, f"b3:{64 * '0'}", None, detail, tuple(differences))


def finding(
    detail: str = "two runs disagree", fix: str = "mlvc run --seed 0 -- true", **fields: str
) -> dict[str, Any]:
    told = {"cause": "nondeterminism", "detail": detail, "fix": fix, "status": "likely", "experiment": ""}
    return {**told, **fields}


def run(
    *outputs: OutputVerdict,
    verdict: str = "different",
    name: str | None = "train",
    diagnosis: Any = (),
    inputs: Any = (),
    number: int = 1,
    unproven: Any = (),
    **fields: Any,
) -> dict[str, Any]:
    """Returns one run of an answer; `inputs` are pairs of a path and a byte that its id is made of."""
    recorded = Run(
        plan=PlanId(bytes(32)),
        argv=("python", "train.py"),
        directory="",
        project="/work",
        code=Code("0123456789abcdef", dirty=False, tree=TreeId(b"\x03" * 32)),
        inputs=tuple(
            TrackedPath(path.encode(), Kind.FILE, BlobId(bytes([byte]) * 32), 1, 1) for path, byte in inputs
        ),
        environment=EnvironmentId(b"\x04" * 32),
    )
    told = Verdict(
        run=RunId(number.to_bytes(32)),
        verdict=verdict,
        outputs=outputs,
        exit_code=1,
        duration_ms=1500,
        **fields,
    )
    item = reproduced_json(Reproduced(recorded, VerdictId(b"\x05" * 32), told, tuple(unproven)))
    # Foreign text that no stored record could hold, such as half a surrogate pair, must not break a report either.
    return {**item, "id": f"b3:{number:064x}", "name": name, "diagnosis": list(diagnosis)}


def missed(message: str = "too few CPUs", name: str | None = "big") -> dict[str, Any]:
    error = {"code": "too-few-cpus", "message": message, "hint": message}
    return {"id": f"b3:{99:064x}", "name": name, "error": error}


def answer(
    *runs: dict[str, Any], verdict: str = "different", missed: Any = (), accept: str = "identical"
) -> dict[str, Any]:
    return {"verdict": verdict, "accept": accept, "runs": list(runs), "not_executed": list(missed)}
