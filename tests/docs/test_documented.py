"""What is not in the documentation does not exist: commands, options, settings, error codes, exit statuses, words."""

import importlib
import pkgutil
import re

import pytest
from typer.core import TyperGroup

import mlvc
from mlvc.errors import MlvcError
from mlvc.model.config import Config
from mlvc.model.objects import VERDICTS
from mlvc.repro.compare.policy import RULES
from tests.support.reference import all_commands, render


@pytest.fixture(scope="module")
def docs(root):
    return root / "docs"


def codes_in(text):
    return set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))


def error_codes():
    """Every code that any module of mlvc defines, found by importing all of them."""
    for module in pkgutil.walk_packages(mlvc.__path__, "mlvc."):
        # What runs in the user's interpreter is a script, and env.py of the migrations is run by Alembic alone.
        if not module.name.startswith(("mlvc.runtime.", "mlvc.__main__", "mlvc.index.migrations.")):
            importlib.import_module(module.name)
    pending, found = [MlvcError], {"bug"}
    while pending:
        error = pending.pop()
        found.add(error.code)
        pending += error.__subclasses__()
    return found


def test_reference_of_commands_is_current(docs):
    """`python -m tests.support.reference > docs/reference/commands.md` writes it."""
    assert render() == (docs / "reference" / "commands.md").read_text()


def test_every_option_has_a_help_text():
    """An option without one would stand in the reference without a meaning."""
    for command, context in all_commands():
        for param in command.get_params(context):
            assert param.help or param.expose_value is False, f"{context.command_path} {param.name}"
        assert isinstance(command, TyperGroup) or command.epilog, context.command_path


def test_every_json_answer_is_described(docs):
    """One line for each command."""
    text = (docs / "reference" / "json.md").read_text()
    for command, context in all_commands():
        name = context.command_path.removeprefix("mlvc").split("[")[0].strip()
        if not isinstance(command, TyperGroup):
            assert f"`{name}`" in text, name


def test_error_codes_are_all_there_and_no_others(docs):
    """Each with its meaning in docs/reference/errors.md."""
    assert error_codes() == codes_in((docs / "reference" / "errors.md").read_text())


def test_error_codes_are_kebab_case():
    """Scripts compare them."""
    for code in error_codes():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code), code


@pytest.mark.parametrize("status", ["0", "1", "2", "125", "130", "141"])
def test_exit_statuses_are_documented(docs, status):
    """Each on a line of its own."""
    assert f"| {status} |" in (docs / "reference" / "errors.md").read_text()


def test_settings_are_all_there_and_no_others(docs):
    """By the names that mlvc.toml has for them."""
    text = (docs / "reference" / "settings.md").read_text()
    known = {field.replace("_", ".", 1) for field in Config._fields}

    assert known == set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize(
    "word",
    ["blob", "chunk", "recipe", "tree", "pack", "environment", "run", "verdict", "commit", "lock", "index"],
)
def test_nouns_are_in_the_glossary(docs, word):
    """One word for one thing."""
    assert re.search(rf"^\| (\w+, )?{word}\b", (docs / "glossary.md").read_text(), re.MULTILINE)


def test_verdicts_are_in_the_glossary(docs):
    """From best to worst, as the code orders them."""
    assert ", ".join(VERDICTS) in (docs / "glossary.md").read_text()


def test_links_between_pages_lead_somewhere(docs):
    """Every relative link of every page."""
    for page in docs.rglob("*.md"):
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(docs)}: {target}"


def test_every_page_is_in_the_index(docs):
    """docs/README.md links to each page, directly or through a page that it links to."""
    seen, pending = set(), [docs / "README.md"]
    while pending:
        page = pending.pop().resolve()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        pending += [
            page.parent / target for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
        ]

    assert {page.resolve() for page in docs.rglob("*.md")} <= seen


def test_rules_of_comparing_are_all_there_and_no_others(docs):
    """Each with its reason, in docs/reference/comparing.md."""
    text = (docs / "reference" / "comparing.md").read_text()
    table = text.partition("## Rules")[2]

    assert [(rule.name, rule.reason) for rule in RULES] == re.findall(
        r"^\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE
    )
