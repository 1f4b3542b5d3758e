"""Metrics of files and of what a script logged: last values, and courses over steps."""

import itertools
import json

import pytest

from mlvc.model.series import Series, decode_series, encode_series
from mlvc.repro.series import MOST_POINTS, MOST_POINTS_TOGETHER, Gathering
from mlvc.repro.values import ValuesUnreadableError, decode_metrics, read_log, read_metrics

COURSE = Series(("1", "2"), ("0.50", "0.25"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "step,loss,lr\n1,0.50,\n2,0.25,\n"),
        ("m.CSV", "\ufeff,epoch,loss\r\n0,1,0.50\r\n1,2,0.25\r\n"),
        ("loss.tsv", "step\tloss\n1\t0.50\n2\t0.25\n"),
        ("m.csv", '"global_step","loss"\n"1"," 0.50"\n"2","0.25"'),
    ],
)
def test_rows_of_a_table_are_steps(name, text):
    """The column of the steps is none of the metrics; an empty cell is no value; a number is spelt as it was."""
    found = decode_metrics(text.encode(), name.encode())

    assert {"loss": COURSE} == found.series
    assert {"loss": "0.25"} == found.values


@pytest.mark.parametrize("name", ["m.jsonl", "m.ndjson", "m.json"])
def test_rows_of_objects_are_steps(name):
    """One in each line, or in a list; names are dotted, and rows need not agree in what they have."""
    rows = [
        {"step": 1, "train": {"loss": 0.5}},
        {"step": 2, "train": {"loss": 0.25}, "epoch": 1, "phase": "end", "best": True},
    ]
    text = json.dumps(rows) if name == "m.json" else "\n".join(map(json.dumps, rows)) + "\n\n"

    found = decode_metrics(text.encode(), name.encode())

    assert {
        "train.loss": Series(("1", "2"), ("0.5", "0.25")),
        "epoch": Series(("2",), ("1",)),
    } == found.series
    assert {"train.loss": "0.25", "epoch": "1", "phase": '"end"', "best": "true"} == found.values


def test_rows_without_steps_are_counted():
    """From 0; the step of a row counts even where it skips some or goes back."""
    assert ("0", "1", "2") == decode_metrics(b"a\n3\n2\n1\n", b"m.csv").series["a"].steps
    assert ("0", "9", "4") == decode_metrics(b"step,a\n,3\n9,2\n4,1\n", b"m.csv").series["a"].steps


def test_what_is_no_number():
    """A course may leave the numbers, and is told so; texts and truths have none, only a last value."""
    text = "a,b,c,d\nnan,yes,true,1_0\n-Infinity,no,false,x\n1e3,maybe,true,.5\n"

    found = decode_metrics(text.encode(), b"m.csv")

    assert ("nan", "-inf", "1e3") == found.series["a"].values
    assert {"a": "1e3", "b": '"maybe"', "c": "true", "d": "0.5"} == found.values
    assert {"a", "d"} == set(found.series)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.csv", b"a\n\xff\n"),
        ("m.csv", b'a,b\n"1,2\n'),
        ("m.csv", b"a\n" + b"9" * 200_000),
        ("m.jsonl", b'{"a": 1}\n{"a": '),
        ("m.jsonl", b"1\n2\n"),
        ("m.json", b"[1, 2]"),
        ("m.json", b"[" * 100_000),
        ("m.json", b'"text"'),
        ("m.tsv", b" " * ((16 << 20) + 1)),
    ],
    ids=["not-utf-8", "open-quote", "long-cell", "cut", "no-objects", "no-rows", "deep", "text", "large"],
)
def test_files_that_cannot_be_read(name, data):
    """One error, which names the file."""
    with pytest.raises(ValuesUnreadableError, match=name):
        decode_metrics(data, name.encode())


def test_missing_file(tmp_path):
    """Likewise."""
    with pytest.raises(ValuesUnreadableError, match="cannot read"):
        read_metrics(tmp_path / "none.csv")


def test_log_of_a_script(tmp_path):
    """A value without a step counts on; what was logged once, without one, has no course."""
    log = tmp_path / "log"
    lines = [
        {"kind": "metric", "name": "loss", "value": 2.5, "step": None},
        {"kind": "metric", "name": "loss", "value": 1, "step": None},
        {"kind": "metric", "name": "mae", "value": 7, "step": None},
        {"kind": "metric", "name": "auc", "value": 0.5, "step": 3},
        {"kind": "param", "name": "depth", "value": 6, "step": None},
        {"kind": "metric", "name": "loss", "value": float("nan"), "step": 8.5},
        {"kind": "metric", "name": "half\ud800", "value": "\ud800", "step": "\ud800"},
        ["metric"],
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "metric", "na')

    params, metrics = read_log(log)

    assert {"depth": "6"} == params
    assert {"loss": '"nan"', "mae": "7", "auc": "0.5", "half?": '"?"'} == metrics.values
    assert {
        "loss": Series(("0", "1", "8.5"), ("2.5", "1", "nan")),
        "auc": Series(("3",), ("0.5",)),
    } == metrics.series
    assert ({}, {}) == (read_log(tmp_path / "none")[0], read_log(tmp_path / "none")[1].values)


def test_long_courses_are_thinned():
    """Evenly, with the first and the last; so memory and record are bounded, however often somebody logs."""
    gathering = Gathering()
    for step in range(MOST_POINTS * 5):
        gathering.add("loss", str(-step), None)

    steps = [int(step) for step in gathering.finish()["loss"].steps]

    assert MOST_POINTS // 2 <= len(steps) <= MOST_POINTS + 1
    assert (0, MOST_POINTS * 5 - 1) == (steps[0], steps[-1])
    assert 1 == len({after - before for before, after in itertools.pairwise(steps[:-1])})


def test_many_courses_are_thinned_more():
    """All of a run together stay below a bound, too."""
    gathering = Gathering()
    count = MOST_POINTS_TOGETHER // 50
    for metric in range(count):
        for step in range(100):
            gathering.add(f"m{metric}", f"{step}.5", None)

    series = gathering.finish()

    assert count == len(series)
    assert all(each.values[-1] == "99.5" for each in series.values())
    assert MOST_POINTS_TOGETHER * 1.1 > sum(len(each.steps) for each in series.values())
    assert series == decode_series(encode_series(series))


def test_numbers_that_are_too_long():
    """A float stands for what has more digits than any."""
    gathering = Gathering()
    for value in ("1" * 41, "-" + "9" * 400, "0." + "3" * 60):
        gathering.add("a", value, "7" * 41)

    found = gathering.finish()["a"]

    assert (str(float("1" * 41)), "-inf", "0.3333333333333333") == found.values
    assert (str(float("7" * 41)),) * 3 == found.steps
