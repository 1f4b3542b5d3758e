"""The order of experiments, in made worlds: what is confirmed, after how many executions, and what is not claimed."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.model.ids import PlanId, TreeId
from mlvc.model.objects import VERDICTS, Code, Run
from mlvc.repro.diagnose.factors import KINDS, Change, ChangeKind, Factor, Outcome, clamps, variations
from mlvc.repro.diagnose.procedure import BudgetSpentError, Case, investigate
from mlvc.repro.diagnose.search import minimise
from mlvc.repro.diagnose.variation import vary

RECORDED = "recorded"


def factor(name, cause="package"):
    return Factor(cause, f"{name} put back", f"{name} is another", (Change(ChangeKind.PACKAGE, name),))


def compared(one, other):
    return "identical" if one == other else "different"


class World:
    """Makes an output from what is applied, and counts how often it was asked."""

    def __init__(self, make, *, verdict=compared, budget=math.inf):
        self.make, self.verdict, self.budget = make, verdict, budget
        self.first = make(frozenset())
        self.made = {(): [self.first]}
        self.reruns = 1

    def conduct(self, steps):
        try:
            experiment = next(steps)
            while True:
                if experiment.times > self.budget:
                    steps.throw(BudgetSpentError())
                experiment = steps.send(self.perform(experiment))
        except StopIteration as end:
            return end.value

    def perform(self, experiment):
        made = self.made.setdefault(experiment.factors, [])
        for _ in range(experiment.times):
            self.reruns += 1
            self.budget -= 1
            made.append(self.make(frozenset(item.what for item in experiment.factors)))
        worst = max((self.verdict(made[0], item) for item in made), key=VERDICTS.index)
        return Outcome(
            self.reruns, self.verdict(RECORDED, made[-1]), worst, self.verdict(self.first, made[-1])
        )


def names(factors):
    return [item.changes[0].name for item in factors]


@given(
    st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1)))
)
def test_the_smallest_part_that_is_enough_is_found(case):
    """Whatever is needed, and nothing else."""
    count, needed = case
    factors = [factor(str(number)) for number in range(count)]

    def test(chosen):
        return {str(number) for number in needed} <= set(names(chosen))
        yield  # a generator, as one that asks for experiments is

    found = World(lambda _: RECORDED).conduct(minimise(factors, test))

    assert sorted(map(str, needed)) == sorted(names(found))


def test_one_package_among_hundreds_takes_few_runs():
    """About two for each halving."""
    packages = tuple(factor(str(number)) for number in range(256))
    world = World(lambda held: RECORDED if packages[200].what in held else "other")

    done = world.conduct(investigate(Case("different", (packages,), (), ())))

    assert [packages[200].detail] == [item.detail for item in done.confirmed]
    assert world.reruns <= 2 + 2 * 8 + 1


def test_what_is_put_back_is_confirmed_by_its_re_run():
    """The number and the words of the experiment are kept; what was put back without effect is refuted."""
    variable, code = factor("X", "variable"), factor("train.py", "code")
    world = World(lambda held: RECORDED if code.what in held else "other")

    done = world.conduct(investigate(Case("different", ((variable,), (code,)), (), ())))

    assert [("code", "confirmed", 4)] == [(item.cause, item.status, item.rerun) for item in done.confirmed]
    assert "re-run 4, with train.py put back, gave the recorded bytes" == done.confirmed[0].experiment
    assert [variable] == done.refuted


def test_the_likely_causes_are_tried_first():
    """What the differences speak for saves runs."""
    variable, code = factor("X", "variable"), factor("train.py", "code")
    world = World(lambda held: RECORDED if code.what in held else "other")

    done = world.conduct(investigate(Case("different", ((variable,), (code,)), (), ("code",))))

    assert 3 == done.confirmed[0].rerun


def test_two_causes_that_only_help_together_are_both_named():
    """Neither alone gives the recorded bytes."""
    variable, code, data = factor("X", "variable"), factor("train.py", "code"), factor("d", "input")
    world = World(lambda held: RECORDED if {variable.what, data.what} <= held else "other")

    done = world.conduct(investigate(Case("different", ((variable,), (code,), (data,)), (), ())))

    assert {"variable", "input"} == {item.cause for item in done.confirmed}
    assert all("none of them alone does" in item.experiment for item in done.confirmed)
    assert [code] == done.refuted


def test_nothing_is_claimed_where_nothing_helps():
    """Re-runs agree, and no factor restores the record."""
    world = World(lambda held: "other")

    done = world.conduct(investigate(Case("different", ((factor("X"),),), (), ())))

    assert ([], True, True) == (done.confirmed, done.is_repeatable, done.is_complete)


RUN = Run(
    plan=PlanId(bytes(32)),
    argv=("python", "train.py"),
    directory="",
    project="/p",
    code=Code(None, dirty=False, tree=TreeId(bytes(32))),
    profile="none",
)
CLAMPS = clamps(RUN, started_s=0)


def unsteady(*needed):
    """Makes another output each time, unless all that is needed is held."""
    count = itertools.count()
    wanted = {item.what for item in CLAMPS if item.cause in needed}
    return lambda held: "steady" if wanted <= held else f"other {next(count)}"


@pytest.mark.parametrize("cause", sorted({item.cause for item in CLAMPS} - {"unseeded-random"}))
def test_the_one_thing_that_has_to_be_held_is_the_cause(cause):
    """Whichever it is; and without likelihoods it takes a bounded number of runs."""
    world = World(unsteady(cause))

    done = world.conduct(investigate(Case("different", (), CLAMPS, ())))

    assert [cause] == [item.cause for item in done.confirmed]
    assert "3 re-runs with" in done.confirmed[0].experiment
    assert world.reruns <= 20


def test_a_likely_clamp_takes_five_runs():
    """The reproduction, one more, and three that agree."""
    world = World(unsteady("hash-seed"))

    world.conduct(investigate(Case("different", (), CLAMPS, ("hash-seed",))))

    assert 5 == world.reruns


def test_two_clamps_that_are_both_needed_are_both_named():
    """A script may be unseeded and go through sets."""
    world = World(unsteady("hash-seed", "threads"))

    done = world.conduct(investigate(Case("different", (), CLAMPS, ())))

    assert {"hash-seed", "threads"} == {item.cause for item in done.confirmed}


def test_what_no_clamp_holds_is_said_to_be_so():
    """No cause is confirmed, and the note says what was held."""
    count = itertools.count()
    world = World(lambda held: f"other {next(count)}")

    done = world.conduct(investigate(Case("different", (), CLAMPS, ())))

    assert [] == done.confirmed
    assert ["nondeterminism"] == [item.cause for item in done.notes]
    assert "the hash seed pinned" in done.notes[0].detail


def test_agreement_by_chance_is_not_taken_for_a_cause():
    """A third re-run has to agree as well."""
    made = iter(["a", "b", "c", "c", "d"])
    world = World(lambda held: next(made))

    done = world.conduct(investigate(Case("different", (), CLAMPS[:1], ())))

    assert [] == done.confirmed
    assert "a third did not" in done.notes[0].detail


@pytest.mark.parametrize("budget", range(6))
def test_a_spent_budget_ends_the_search_with_what_is_known(budget):
    """No more executions than allowed, and nothing is claimed."""
    world = World(unsteady("clock"), budget=budget)

    done = world.conduct(investigate(Case("different", (), CLAMPS, ())))

    assert not done.is_complete
    assert [] == done.confirmed
    assert world.reruns <= 1 + budget


def test_bytes_that_vary_harmlessly_do_not_hide_a_drift():
    """With an address in each output, the recorded content is what has to come back."""
    count = itertools.count()

    def make(held):
        return ("same" if factor("d", "input").what in held else "other", next(count))

    def verdict(one, other):
        one = ("same", -1) if one == RECORDED else one
        return "identical" if one == other else "equivalent" if one[0] == other[0] else "different"

    world = World(make, verdict=verdict)
    done = world.conduct(investigate(Case("different", ((factor("d", "input"),),), CLAMPS, ())))

    assert ["input"] == [item.cause for item in done.confirmed]
    assert "gave the recorded content" in done.confirmed[0].experiment


def test_variations_name_the_one_harmless_thing_that_was_not():
    """All together first; one by one only where that breaks something."""
    kinds = {kind: variations(RUN, kind, usable_cpus=2) for kind in KINDS}
    zone = kinds["harmless"][0].what
    world = World(lambda held: "other" if zone in held else RECORDED)

    found = world.conduct(vary(kinds, is_repeatable=True))

    assert list(KINDS) == [item.factor for item in found]
    assert ["harmless"] == [item.factor for item in found if item.verdict != "identical"]
    assert found[-1].detail == zone


def test_variations_of_what_does_not_repeat_say_nothing():
    """One run finds that out."""
    count = itertools.count()
    world = World(lambda held: f"other {next(count)}")

    found = world.conduct(vary({"time": variations(RUN, "time", usable_cpus=2)}, is_repeatable=None))

    assert [("time", "")] == [(item.factor, item.verdict) for item in found]
    assert 2 == world.reruns


def test_variations_that_are_good_enough_are_not_looked_into():
    """Where `close` is accepted, a close harmless set costs one execution, and a different one is taken apart."""
    kinds = {"harmless": variations(RUN, "harmless", usable_cpus=2)}
    zone = kinds["harmless"][0].what

    def verdict(one, other):
        return "identical" if one == other else "close" if {one, other} == {RECORDED, "near"} else "different"

    near = World(lambda held: "near" if zone in held else RECORDED, verdict=verdict)
    far = World(lambda held: "far" if zone in held else RECORDED, verdict=verdict)
    (accepted,) = near.conduct(vary(kinds, is_repeatable=True, accept="close"))
    (refused,) = far.conduct(vary(kinds, is_repeatable=True, accept="close"))

    assert ("close", 2) == (accepted.verdict, near.reruns)
    assert ("different", zone) == (refused.verdict, refused.detail)


@pytest.mark.parametrize(
    ("again", "expected"),
    [("near", [("time", "close")]), ("far", [("repeat", "different"), ("time", "")])],
)
def test_re_runs_repeat_if_they_agree_as_well_as_is_asked_for(again, expected):
    """Those that do not are a finding of its own: the reproduction was as good by luck."""
    made = itertools.chain([RECORDED, again], itertools.repeat("near"))

    def verdict(one, other):
        return "identical" if one == other else "close" if {one, other} == {RECORDED, "near"} else "different"

    world = World(lambda _: next(made), verdict=verdict)
    kinds = {"time": variations(RUN, "time", usable_cpus=2)}

    found = world.conduct(vary(kinds, is_repeatable=None, accept="close"))

    assert expected == [(item.factor, item.verdict) for item in found]
