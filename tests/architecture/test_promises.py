"""Each storage promise (design, section 3) is quoted by number in a test that breaks something on purpose."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
QUOTED = re.compile(r"[Pp]romises? ((?:\d(?:, | and )?)+)")


def quotes():
    """Returns the promises that the docstrings of tests quote, with the tests."""
    found = {}
    for path in TESTS.rglob("test_*.py"):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for numbers in QUOTED.findall(ast.get_docstring(node) or ""):
                    for number in re.findall(r"\d", numbers):
                        found.setdefault(int(number), set()).add(f"{path.stem}.{node.name}")
    return found


@pytest.mark.parametrize("promise", range(1, 9))
def test_every_promise_is_quoted(promise):
    """By more than one test."""
    assert len(quotes().get(promise, ())) > 1
