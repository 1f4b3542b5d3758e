"""Everything that was found out about a reproduction, as one list of causes. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from mlvc.model.objects import Cause, Run
from mlvc.repro.diagnose.crash import crash_causes
from mlvc.repro.diagnose.factors import Factor
from mlvc.repro.diagnose.preflight import admitted_causes, host_causes
from mlvc.repro.diagnose.procedure import Conclusion
from mlvc.repro.diagnose.signature import harmless_causes, likely_causes
from mlvc.repro.rerun import FAILED, Rerun

__all__ = ["report_causes"]

_MOST_DETAIL = 1000
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def report_causes(
    run: Run,
    rerun: Rerun,
    groups: Sequence[Sequence[Factor]] = (),
    done: Conclusion | None = None,
    *,
    parting: Cause | None = None,
    present: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Cause, ...]:
    """Returns what may explain a reproduction that is not identical, the confirmed first; each cause once.

    Args:
        run: The record.
        rerun: The reproduction.
        groups: What could be put back.
        done: What experiments showed; None where none were made.
        parting: Where the training parted from the recorded one, if both told.
        present: What the undeclared files hold now that are there, by name.
    """
    if rerun.verdict == "identical":
        return ()
    done = Conclusion() if done is None else done
    seen = [factor for group in groups for factor in group if factor.is_seen and factor not in done.refuted]
    found = [
        *done.confirmed,
        *(crash_causes(run, rerun) if rerun.verdict == FAILED else ()),
        *admitted_causes(run, present),
        *([] if parting is None else [parting]),
        *host_causes(run, rerun),
        *(_likely(factor, done) for factor in seen),
        *harmless_causes(rerun.outputs),
        *likely_causes(rerun.outputs),
        *done.notes,
    ]
    if done.confirmed:
        # What an experiment showed needs no second explanation in general terms.
        general = {"rounding", "nondeterministic-operation", "numeric-libraries", "hash-seed"}
        general |= {item.cause for item in done.confirmed}
        found = [item for item in found if item.status == "confirmed" or item.cause not in general]
    elif rerun.verdict in {"different", "close"}:
        found.append(_repeating(done))
    found += [Cause("not-tried", text, "untested") for text in done.refused]
    return tuple(_unique(found))


def _likely(factor: Factor, done: Conclusion) -> Cause:
    """Returns a difference that is on record; where experiments were made and this was none of them, as untested."""
    status = "untested" if done.is_repeatable is not None else "likely"
    return Cause(factor.cause, factor.detail, status, fix=factor.fix)


def _repeating(done: Conclusion) -> Cause:
    if done.is_repeatable is None:
        return Cause(
            "nondeterminism",
            "the command itself may not repeat: is every random generator seeded? `mlvc repro --diagnose full` tries"
            " it, and looks for the cause",
            "untested",
        )
    if not done.is_repeatable:
        return Cause("nondeterminism", "re-runs of the same closure differ from each other")
    return Cause(
        "drift",
        "re-runs agree with each other and not with the record: it depended on something that was not recorded",
    )


def _unique(causes: Iterable[Cause]) -> Iterator[Cause]:
    known: set[tuple[str, str]] = set()
    for cause in causes:
        plain = dataclasses.replace(
            cause, detail=_plain(cause.detail), experiment=_plain(cause.experiment), fix=_plain(cause.fix)
        )
        if (plain.cause, plain.detail) not in known:
            known.add((plain.cause, plain.detail))
            yield plain


def _plain(text: str) -> str:
    """Returns a sentence that is safe to print and to store: much of it came from the command."""
    return _UNPRINTABLE.sub("?", text)[:_MOST_DETAIL]
