"""`mlvc repro --accept` and `--tolerance`: how good is good enough."""

from tests.support.environments import find_system_python

SCRIPT = """
import pathlib, time
pathlib.Path("out.json").write_text('{"x": %r}' % (1.0 + (time.time_ns() // 100 % 1_000_003 + 1) * 4e-16))
"""


def test_accept_and_tolerance(run_mlvc, git_repo):
    """The exit status follows the one, also of what is varied: a run that repeats up to rounding repeats where that is
    accepted. The verdict follows the other, and keeps the bound that it went by.
    """
    run_mlvc("init")
    (git_repo / "train.py").write_text(SCRIPT)
    run_mlvc("run", "-o", "out.json", "--", find_system_python(), "train.py")

    for options, status, verdict, bound in (
        (("--accept", "equivalent"), 1, "close", "1e-09"),
        (("--accept", "close"), 0, "close", "1e-09"),
        (("--accept", "close", "--tolerance", "0"), 1, "different", "0"),
    ):
        done = run_mlvc("repro", "--engine", "none", "--diagnose", "off", "--json", *options, check=status)

        assert verdict == done.json()["verdict"]
        assert bound == done.json()["runs"][0]["policy"]["float64"]

    vary = ("repro", "--engine", "none", "--diagnose", "off", "--json", "--vary", "hash-seed")
    for options, status, expected in (
        ((), 1, [("hash-seed", "")]),
        (("--accept", "close"), 0, [("hash-seed", "close")]),
        (("--accept", "close", "--tolerance", "0"), 1, [("repeat", "different"), ("hash-seed", "")]),
    ):
        varied = run_mlvc(*vary, *options, check=status).json()["runs"][0]["variations"]

        assert expected == [(item["factor"], item["verdict"]) for item in varied]
