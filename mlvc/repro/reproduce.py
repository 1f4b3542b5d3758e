"""Repeats one recorded run, says how the result compares, and looks for the cause where it is not identical."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlvc.model.objects import VERDICTS, Cause, Run, Variation, Verdict
from mlvc.repro.diagnose.factors import ChangeKind, Factor, clamps, variations
from mlvc.repro.diagnose.parting import parting_cause, spoken_for
from mlvc.repro.diagnose.preflight import recipe_factors, surroundings
from mlvc.repro.diagnose.procedure import Case, Conclusion, investigate
from mlvc.repro.diagnose.report import report_causes
from mlvc.repro.diagnose.signature import is_explained, ranked
from mlvc.repro.diagnose.streams import drawn_unseeded, number_causes
from mlvc.repro.diagnose.variation import vary
from mlvc.repro.execute import Workshop, usable_cpus
from mlvc.repro.laboratory import Budget, Laboratory, changed_files, environment_of
from mlvc.repro.progress import MOST_BYTES, decode_steps
from mlvc.repro.rerun import FAILED, Conditions, Rerun, compare_reruns, rerun

__all__ = ["Inquiry", "reproduce"]

_SAME = "identical"


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is asked of a reproduction.

    Attributes:
        times: How often the run is executed.
        diagnose: Whether causes are looked for, and whether experiments are made for it.
        vary: Kinds of variation to try.
        accept: The worst verdict that is good enough; a variation that is as good is not looked into.
        budget_runs: How many more executions experiments and variations may take together; None without end.
        budget_s: How long they may take; None without end.
    """

    times: int = 1
    diagnose: Literal["off", "cheap", "full"] = "cheap"
    vary: tuple[str, ...] = ()
    accept: str = _SAME
    budget_runs: int | None = None
    budget_s: float | None = None


def reproduce(
    record: Run,
    shop: Workshop,
    conditions: Conditions,
    inquiry: Inquiry,
    *,
    recipe: Run | None = None,
    system: Conditions | None = None,
) -> tuple[Verdict, ...]:
    """Repeats a run from nothing but its closure, and returns a verdict for each time; stores the new outputs.

    The causes and the variations stand in the first verdict that is not identical, or else in the first.

    Args:
        record: What to repeat, and what the outputs are compared with.
        shop: The other rooms.
        conditions: What it is executed under.
        inquiry: What is asked.
        recipe: What is executed in its place, to find out what makes the difference; None for the record itself.
        system: Conditions on this machine's own system, where the others name a base image.

    Raises:
        ClosureIncompleteError: The store lacks code or inputs.
        ObjectMissingError: The store lacks the environment or a recorded output that has to be compared.
        LibraryMissingError: The base lacks a library that the program needs to start.
        EngineError: The engine could not start the command.
        MlvcError: The environment cannot be rebuilt: no wheel, another interpreter.
    """
    is_probed = inquiry.diagnose == "full"
    reruns = [
        rerun(record, shop, conditions, recipe=recipe, is_probed=is_probed) for _ in range(inquiry.times)
    ]
    chosen = next((number for number, item in enumerate(reruns) if item.verdict != _SAME), 0)
    budget = Budget(inquiry.budget_runs, inquiry.budget_s)
    laboratory = Laboratory(
        record, recipe or record, shop, conditions, reruns[chosen], system, budget, len(reruns)
    )
    causes = _causes(laboratory, inquiry, reruns)
    varied = _varied(laboratory, inquiry)
    return tuple(
        _verdict(
            record,
            item,
            conditions,
            causes if number == chosen else (),
            varied if number == chosen else (),
            laboratory.reruns - len(reruns) if number == chosen else 0,
            shop.policy.summary,
        )
        for number, item in enumerate(reruns)
    )


def _causes(laboratory: Laboratory, inquiry: Inquiry, reruns: list[Rerun]) -> tuple[Cause, ...]:
    first = laboratory.first
    if inquiry.diagnose == "off" or first.verdict == _SAME:
        return ()
    groups = _groups(laboratory)
    parting = _parting(laboratory)
    agreement = _agreement(reruns, laboratory.shop)
    done = Conclusion(is_repeatable=None if agreement is None else _is_harmless(agreement))
    if inquiry.diagnose == "full":
        case = Case(
            first.verdict,
            groups,
            _clamps(laboratory),
            _order(laboratory, parting),
            agreement,
            is_explained(first.outputs),
        )
        done = laboratory.conduct(investigate(case))
    present = laboratory.shop.digest_present(laboratory.record.observed.digests)
    return report_causes(laboratory.record, first, groups, done, parting=parting, present=present)


def _parting(laboratory: Laboratory) -> Cause | None:
    """Returns where the training parted from the recorded one; None where its steps were not noted, or are not here."""
    noted, reader = laboratory.record.steps, laboratory.shop.reader
    if noted is None or laboratory.first.verdict == FAILED or not reader.has_blob(noted):
        return None
    return parting_cause(
        decode_steps(reader.read_blob(noted, limit_bytes=MOST_BYTES)), laboratory.first.steps
    )


def _is_harmless(verdict: str) -> bool:
    return VERDICTS.index(verdict) <= VERDICTS.index("equivalent")


def _agreement(reruns: list[Rerun], shop: Workshop) -> str | None:
    """Returns how several re-runs compare with each other; None where there was one."""
    return max(
        (compare_reruns(reruns[0], other, shop) for other in reruns[1:]), key=VERDICTS.index, default=None
    )


def _groups(laboratory: Laboratory) -> tuple[tuple[Factor, ...], ...]:
    """Returns what can be put back, in the order of trying."""
    record, recipe, first = laboratory.record, laboratory.recipe, laboratory.first
    around = surroundings(record, first, has_base=laboratory.system is not None)
    if first.verdict == FAILED:
        # What a command did not find is all that can be brought.
        return tuple(
            group
            for group in around
            if any(item.kind is ChangeKind.PRESENT_INPUT for item in group[0].changes)
        )
    if recipe == record:
        return around
    reader = laboratory.shop.reader
    environments = (environment_of(record, reader), environment_of(recipe, reader))
    return (
        *recipe_factors(record, recipe, environments, changed_files(record, recipe, reader)),
        *around,
    )


def _clamps(laboratory: Laboratory) -> tuple[Factor, ...]:
    began = datetime.datetime.fromisoformat(laboratory.first.started)
    return clamps(laboratory.recipe, started_s=began.timestamp(), unseeded=_unseeded(laboratory))


def _unseeded(laboratory: Laboratory) -> tuple[str, ...]:
    return drawn_unseeded(laboratory.record.effective, laboratory.first.trace.effective)


def _order(laboratory: Laboratory, parting: Cause | None) -> tuple[str, ...]:
    """Returns the causes to try first: what numbers and steps show, then what the differences look like."""
    record, first = laboratory.record, laboratory.first
    seen = ["numeric-libraries"] if any(number_causes(record.fingerprint, first.fingerprint)) else []
    seen += ["unseeded-random"] if _unseeded(laboratory) else []
    return tuple(dict.fromkeys([*seen, *spoken_for(parting), *ranked(first.outputs)]))


def _varied(laboratory: Laboratory, inquiry: Inquiry) -> tuple[Variation, ...]:
    if not inquiry.vary:
        return ()
    kinds = {kind: variations(laboratory.recipe, kind, usable_cpus=usable_cpus()) for kind in inquiry.vary}
    # What gave the recorded bytes once is taken to give them again.
    is_repeatable = True if laboratory.first.verdict == _SAME else None
    return laboratory.conduct(vary(kinds, is_repeatable=is_repeatable, accept=inquiry.accept))


def _verdict(
    record: Run,
    item: Rerun,
    conditions: Conditions,
    causes: tuple[Cause, ...],
    varied: tuple[Variation, ...],
    reruns: int,
    policy: Mapping[str, str],
) -> Verdict:
    return Verdict(
        run=record.id,
        verdict=item.verdict,
        outputs=item.outputs,
        engine=conditions.engine.name,
        isolated=conditions.engine.isolated,
        base=conditions.base,
        host=item.host,
        exit_code=item.result.exit_code,
        diagnosis=causes,
        reruns=reruns,
        variations=varied,
        extra_files=item.extra_files,
        started=item.started,
        duration_ms=item.result.duration_ms,
        log=item.log_id,
        log_bytes=item.log_bytes,
        policy=policy,
    )
