"""What does not count, and what counts as rounding, is named in every verdict that it touched."""

import io
import pickle

import pytest

from mlvc.model.config import decode_config
from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.policy import RULES, TOLERANCES
from mlvc.repro.compare.windows import Unpacked, Window
from mlvc.verbs.comparing import policy_of


def compare(tmp_path, before, after, *, name="model.json", settings="", tolerance=None):
    policy = policy_of(decode_config(settings.encode()), tolerance)
    with Unpacked(tmp_path) as unpacked:
        left, right = (Window.of(io.BytesIO(data)) for data in (before, after))
        return compare_windows(left, right, unpacked, name=name, policy=policy)


def test_a_rule_of_the_project(tmp_path):
    """It covers what it names, and no more."""
    settings = "[compare]\nignore = [{ path = '*.json', where = '$.made.*', reason = 'a time' }]"
    before, after = b'{"made": {"at": 1}, "x": 1}', b'{"made": {"at": 2}, "x": 1}'

    told = compare(tmp_path, before, after, settings=settings)

    assert ("equivalent", "mlvc.toml: a time") == (told.verdict, told.differences[0].rule)
    assert "[mlvc.toml: a time]" in told.detail
    assert "different" == compare(tmp_path, before, after, name="model.txt", settings=settings).verdict
    assert (
        "different"
        == compare(tmp_path, before, after.replace(b'"x": 1', b'"x": 2'), settings=settings).verdict
    )


@pytest.mark.parametrize(
    ("settings", "tolerance", "verdict"),
    [
        ("", None, "different"),
        ("[compare]\ntolerance = { float64 = 1e-5 }", None, "close"),
        ("", 1e-5, "close"),
        ("[compare]\ntolerance = { float64 = 1e-5 }", 0.0, "different"),
        ("[compare]\ntolerance = { float32 = 1e-5 }", None, "different"),
    ],
)
def test_bounds(tmp_path, settings, tolerance, verdict):
    """The settings change the bound of a type, and the option that of all."""
    told = compare(tmp_path, b"[1.0]", b"[1.000001]", settings=settings, tolerance=tolerance)

    assert verdict == told.verdict


def test_a_rule_of_a_class_is_about_that_class_alone(tmp_path):
    """An attribute of the same name elsewhere counts."""

    def model(module, threads):
        return f"\x80\x02c{module}\nModel\n)\x81}}X\x09\0\0\0n_threadsK{chr(threads)}sb.".encode("latin-1")

    ours, others = (
        [model(module, threads) for threads in (1, 2)] for module in ("sklearn.fake", "elsewhere.fake")
    )

    assert "*.n_threads" == compare(tmp_path, *ours, name="a.pkl").differences[0].rule
    assert "different" == compare(tmp_path, *others, name="a.pkl").verdict


def test_every_rule_that_was_applied_is_kept(tmp_path):
    """Also where graver differences fill the list."""
    before = {"numbers": list(range(500)), "order": {"a": 1, "b": 2, "c": 3}}
    after = {"numbers": list(range(1, 501)), "order": {"c": 3, "b": 2, "a": 1}}

    told = compare(tmp_path, pickle.dumps(before), pickle.dumps(after), name="a.pkl")

    assert "different" == told.verdict
    assert "python.dict-order" in {item.rule for item in told.differences}
    assert len(told.differences) < 60


def test_rules_have_reasons_and_names_of_their_own():
    """A verdict that names one is explained by it."""
    assert len(RULES) == len({rule.name for rule in RULES})
    assert all(rule.reason for rule in RULES)
    assert {"float64", "float32", "float16", "bfloat16"} == set(TOLERANCES)
