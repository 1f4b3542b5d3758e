"""Feeds a parser with bytes that are made to take it down every branch, by atheris, which is no dependency.

    pip install atheris
    python -m tests.support.fuzz tree                            # 100,000 inputs, the same ones every time
    python -m tests.support.fuzz tree -runs=-1 -seed=0 -max_total_time=600

Ends with status 0, or with the traceback and a file of the bytes that were answered by anything but an error of ours.
"""

import contextlib
import sys
from pathlib import Path

import atheris

from mlvc.errors import MlvcError

with atheris.instrument_imports(include=["mlvc.model", "mlvc.store", "mlvc.worktree", "mlvc.repro.compare"]):
    from tests.support.parsers import PARSERS

_LEAST_SEALED_BYTES = 8


def main() -> None:
    """Runs until libFuzzer ends the process."""
    program, name, *options = sys.argv
    parser = PARSERS[name]

    def feed(data: bytes) -> None:
        pieces = [data]
        if parser.seal is not None and len(data) > _LEAST_SEALED_BYTES:
            # Without a right checksum few bytes get any further.
            pieces.append(parser.seal(data))
        for piece in pieces:
            with contextlib.suppress(MlvcError):
                parser.parse(piece)

    # They are kept, because the process ends within `Fuzz`.
    seeds = Path(".cache/fuzz") / name
    seeds.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(parser.examples):
        (seeds / str(number)).write_bytes(example)
    inputs = ",".join(str(seeds / str(number)) for number in range(len(parser.examples)))
    atheris.Setup([program, "-runs=100000", "-seed=1", f"-seed_inputs={inputs}", *options], feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
