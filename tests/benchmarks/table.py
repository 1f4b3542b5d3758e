"""What each work must reach, and the Markdown table of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.measure import Sample
from tests.benchmarks.works import Results

__all__ = ["WORKS", "print_table"]

_ALLOWANCE_S = 0.3


@dataclass(frozen=True)
class _Aim:
    """One figure of a work: how it is told, and what mlvc's may be at most."""

    text: str
    limit: float
    figure: Callable[[Results, str, list[Sample]], float | None]

    def tell(self, results: Results, tool: str, samples: list[Sample]) -> str:
        value = self.figure(results, tool, samples)
        if value is None:
            return ""
        told = self.text.format(value)
        return f"{told} (at most {self.limit:g})" if tool == "mlvc" else told


def _seconds(samples: list[Sample]) -> float:
    return statistics.median(sample.seconds for sample in samples)


def _times(work: str, reference: str, limit: float) -> _Aim:
    """Returns the aim that a work takes at most `limit` times what another tool takes for it."""

    def figure(results: Results, _tool: str, samples: list[Sample]) -> float | None:
        others = results.samples.get((work, reference))
        return _seconds(samples) / _seconds(others) if others else None

    return _Aim(f"{{:.2f}} x {reference}", limit, figure)


def _of_status(results: Results, _tool: str, samples: list[Sample]) -> float | None:
    status = results.samples.get(("status", "mlvc"))
    return _seconds(samples) - _seconds(status) if status else None


_AFTER_STATUS = _Aim("status of mlvc {:+.2f} s", _ALLOWANCE_S, _of_status)


def _largest(text: str, limit: float, value: Callable[[Sample], float]) -> _Aim:
    return _Aim(text, limit, lambda _results, _tool, samples: max(map(value, samples)))


def _at_most_s(limit: float) -> _Aim:
    return _Aim("{:.2f} s", limit, lambda _results, _tool, samples: _seconds(samples))


def _share(what: str, limit: float) -> _Aim:
    """Returns the aim that what is stored is at most `limit` per cent of what it is compared with."""
    return _largest(
        f"{{:.2f}} % of {what}", limit, lambda sample: 100 * sample.stored_bytes / max(1, sample.base_bytes)
    )


_MEMORY = _largest("{:.0f} MB of memory", 600, lambda sample: sample.peak_bytes / 1e6)

WORKS: dict[str, tuple[_Aim, ...]] = {
    "add-files": (_times("add-files", "cp", 1.5),),
    "status": (_times("status", "git", 3),),
    "add-again": (_AFTER_STATUS,),
    "checkout-files": (_times("checkout-files", "cp", 1.6),),
    "checkout-changed": (_AFTER_STATUS,),
    "add-large": (_times("add-large", "cp", 2),),
    "csv": (_share("the first version", 3),),
    "checkpoint": (_share("the first version", 5.5),),
    "million-add": (_MEMORY,),
    "million-status": (_MEMORY,),
    "million-commit": (
        _MEMORY,
        _largest("{:.2f} MB written", 1, lambda sample: sample.written_bytes / 1e6),
    ),
    "reflink-add": (_times("reflink-add", "cp", 0.7), _share("the file more on the disk", 1)),
    "reflink-checkout": (_times("reflink-checkout", "cp", 0.7), _share("the file more on the disk", 1)),
    "reflink-once": (_at_most_s(0.2),),
    "hardlink": (_at_most_s(0.25),),
}


def print_table(results: Results, wanted: frozenset[str]) -> None:
    """Prints a row for each tool in each wanted work, the fastest first and failures last."""
    print(
        "| work | tool | median, s | least to most | CPU, s | figure | peak memory, MB | stored, MB | note |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for work in WORKS:
        if work not in wanted:
            continue
        tools = {tool: samples for (of, tool), samples in results.samples.items() if of == work}
        for tool in sorted(tools, key=lambda tool: _seconds(tools[tool])):
            print(_row(results, work, tool, tools[tool]))
        for (of, tool), reason in results.failures.items():
            if of == work:
                print(f"| {work} | {tool} | failed | | | | | | {_cell(reason)} |")


def _row(results: Results, work: str, tool: str, samples: list[Sample]) -> str:
    seconds = [sample.seconds for sample in samples]
    cpu = statistics.median(sample.cpu_seconds for sample in samples)
    peak = max(sample.peak_bytes for sample in samples) / 1e6
    stored = statistics.median(sample.stored_bytes for sample in samples) / 1e6
    figures = [aim.tell(results, tool, samples) for aim in WORKS[work]]
    return (
        f"| {work} | {tool} | {statistics.median(seconds):.2f} | {min(seconds):.2f} to {max(seconds):.2f} "
        f"| {cpu:.2f} | {'; '.join(filter(None, figures))} | {peak:.0f} | {stored:.1f} | {_cell(samples[-1].note)} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
