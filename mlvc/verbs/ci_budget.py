"""What a job of `mlvc ci` may take: time, and machine hours at the project's prices."""

from __future__ import annotations

import re
from datetime import datetime
from math import isnan

from mlvc.errors import MlvcError, UsageError
from mlvc.model.objects import Run
from mlvc.ports import Clock
from mlvc.repo import Repo

__all__ = ["Budget", "BudgetSpentError"]

_TIME = re.compile(r"([0-9]{1,9})(s|m|h)")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_MS_OF_HOUR = 3_600_000
_LATER = "a later job does not repeat what this one proved"


class BudgetSpentError(MlvcError):
    """A run was not begun, because it would have gone beyond the time or the cost that the job was given."""

    code = "budget-spent"


class Budget:
    """What is left of both, while runs begin and end; what a run will take is what its record took.

    Not for several threads at once.
    """

    def __init__(self, repo: Repo, time: str | None, cost: float | None) -> None:
        """Begins to count now.

        Args:
            repo: Has the clock, and the prices in its settings.
            time: As in `90s`, `20m` or `2h`; None for no bound.
            cost: As of `ci.cpu_hour` and `ci.gpu_hour`; None for no bound.

        Raises:
            UsageError: The time has another form, or the cost is no number.
        """
        if cost is not None and isnan(cost):
            raise UsageError("--max-cost nan: no number", hint="as in 20 or 0.5")
        self._clock: Clock = repo.clock
        self._began: datetime = repo.clock.now()
        self._time_s = _parse_time(time)
        self._cost = cost
        prices = repo.config.ci_cpu_hour, repo.config.ci_gpu_hour
        self._cpu_hour, self._gpu_hour = (1.0 if price is None else price for price in prices)
        self._reserved = 0.0
        self.spent = 0.0

    def cost_of(self, run: Run, duration_ms: int) -> float:
        """Returns what an execution costs that takes so long on what the run was recorded with.

        A run that pinned no number of threads counts as one CPU.
        """
        hourly = max(run.threads, 1) * self._cpu_hour + len(run.gpus) * self._gpu_hour
        return hourly * duration_ms / _MS_OF_HOUR

    def begin(self, run: Run) -> None:
        """Sets aside what a run will cost.

        Raises:
            BudgetSpentError: It would end too late, or cost too much; nothing was set aside.
        """
        if self._time_s is not None:
            left_s = self._time_s - (self._clock.now() - self._began).total_seconds()
            if run.duration_ms / 1000 > left_s:
                raise BudgetSpentError(
                    f"it took {run.duration_ms / 1000:.0f} s, and of the budget {max(left_s, 0):.0f} s are left",
                    hint=_LATER,
                )
        cost = self.cost_of(run, run.duration_ms)
        if self._cost is not None:
            left = self._cost - self.spent - self._reserved
            if cost > left:
                raise BudgetSpentError(
                    f"it would cost {cost:.3g}, and of the {self._cost:g} that the job may cost {max(left, 0):.3g} are"
                    " left",
                    hint=_LATER,
                )
        self._reserved += cost

    def end(self, run: Run, duration_ms: int | None) -> None:
        """Counts what a run that was begun has cost: for so long a command, or, if it never ended, as was set aside."""
        expected = self.cost_of(run, run.duration_ms)
        self._reserved -= expected
        self.spent += expected if duration_ms is None else self.cost_of(run, duration_ms)


def _parse_time(text: str | None) -> float | None:
    """Returns seconds.

    Raises:
        UsageError: It has another form.
    """
    if text is None:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise UsageError(f"--budget {text}: no time", hint="as in 90s, 20m or 2h")
    return float(int(match[1]) * _UNITS_S[match[2]])
