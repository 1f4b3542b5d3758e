"""Where a training stood at some of its steps, and at which two trainings parted. Pure, but for reading the report.

    {"type": "steps", "version": 1, "steps": [{"step", "process", "batch", "loss", "model", "random", "link"}, ...]}

The list is stored as a blob of canonical JSON. `link` is the BLAKE3 of the one before and of the step itself, so that
two lists are alike up to a step if, and only if, that step's links are: halving finds where they part.
Format page: docs/format/steps.md
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from mlvc.errors import FormatError, VersionError
from mlvc.model.canonical import JsonObject, decode_canonical, encode_canonical
from mlvc.model.ids import BlobId

__all__ = ["MOST_BYTES", "UNREADABLE", "Step", "decode_steps", "encode_steps", "find_parting", "read_steps"]

MOST_BYTES = 64 << 20
UNREADABLE = "?"
_SCHEME = 1
_VERSION = 1
_MOST_STEPS = 50_000
_DIGEST = re.compile(r"[0-9a-f]{8,64}|\?")
_NUMBER = re.compile(r"[-+.0-9a-z]{1,32}|\?")
_GENERATOR = re.compile(r"[a-z]{1,16}")


@dataclass(frozen=True, slots=True)
class Step:
    """One noted step.

    Attributes:
        number: As the program counts.
        process: Which of the processes that train; 0 for the first.
        batch: The digest of what it learned from; empty where none was given, `?` where it could not be read.
        loss: The number; likewise.
        model: The digest of the parameters; likewise.
        random: The digests of the states of the random generators that were used so far, by name.
        link: The digest of everything up to here.
    """

    number: int
    process: int = 0
    batch: str = ""
    loss: str = ""
    model: str = ""
    random: Mapping[str, str] = field(default_factory=dict)
    link: str = ""

    def facts(self) -> JsonObject:
        """Returns the step without its link, as JSON."""
        return {
            "batch": self.batch,
            "loss": self.loss,
            "model": self.model,
            "process": self.process,
            "random": dict(self.random),
            "step": self.number,
        }


def read_steps(path: Path) -> tuple[Step, ...]:
    """Returns what the processes of a command noted, the steps of one process after those of another.

    The command can write anything there: a line of another form, or of another scheme of digests, is left out.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(MOST_BYTES).splitlines()
    except FileNotFoundError:
        return ()
    noted: dict[int, list[Step]] = {}
    ranks: dict[int, int] = {}
    for line in lines[:_MOST_STEPS]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match value:
            case {"scheme": 1, "pid": int(pid), "step": int(number), "random": dict(random)}:
                noted.setdefault(pid, []).append(
                    Step(
                        number if abs(number) < 1 << 62 else -1,
                        batch=_checked(_DIGEST, value.get("batch")),
                        loss=_checked(_NUMBER, value.get("loss")),
                        model=_checked(_DIGEST, value.get("model")),
                        random={
                            name: _checked(_DIGEST, state)
                            for name, state in sorted(random.items())
                            if _GENERATOR.fullmatch(name)
                        },
                    )
                )
                rank = value.get("rank")
                ranks.setdefault(pid, rank if isinstance(rank, int) else 0)
            case _:
                continue
    # Which of several starts first, chance decides; a dictionary and `sorted` keep that order among equals.
    return _linked([noted[pid] for pid in sorted(noted, key=lambda pid: ranks[pid])])


def _checked(pattern: re.Pattern[str], value: object) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def _linked(processes: Sequence[Sequence[Step]]) -> tuple[Step, ...]:
    steps: list[Step] = []
    link = ""
    for process, noted in enumerate(processes):
        for item in noted:
            step = Step(item.number, process, item.batch, item.loss, item.model, item.random)
            link = BlobId.of(encode_canonical({"link": link, **step.facts()})).hex
            steps.append(Step(step.number, process, step.batch, step.loss, step.model, step.random, link))
    return tuple(steps)


def encode_steps(steps: Sequence[Step]) -> bytes:
    """Returns the steps as they are stored."""
    return encode_canonical(
        {
            "steps": [{**step.facts(), "link": step.link} for step in steps],
            "type": "steps",
            "version": _VERSION,
        }
    )


def decode_steps(data: bytes) -> tuple[Step, ...]:
    """Returns the steps that `data` encodes.

    Raises:
        FormatError: It encodes none.
        VersionError: A newer mlvc wrote it.
    """
    value = decode_canonical(data)
    if value.get("type") != "steps":
        raise FormatError("not a list of steps")
    if value.get("version") != _VERSION:
        raise VersionError(f"this mlvc does not know version {value.get('version')} of a list of steps")
    try:
        return tuple(
            Step(
                cast("int", item["step"]),
                cast("int", item["process"]),
                cast("str", item["batch"]),
                cast("str", item["loss"]),
                cast("str", item["model"]),
                cast("Mapping[str, str]", item["random"]),
                cast("str", item["link"]),
            )
            for item in cast("list[JsonObject]", value["steps"])
        )
    except (KeyError, TypeError) as exc:
        raise FormatError("a list of steps is incomplete") from exc


def find_parting(then: Sequence[Step], now: Sequence[Step]) -> int | None:
    """Returns the place of the first step that is not the same in both; None where neither list has one."""
    common = min(len(then), len(now))
    place = bisect.bisect_left(range(common), True, key=lambda number: then[number].link != now[number].link)  # noqa: FBT003  # what is looked for
    return place if place < max(len(then), len(now)) else None
