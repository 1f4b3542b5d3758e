"""How `mlvc runs --columns` is taken apart."""

import pytest

from mlvc.cli.commands.runs import split_columns


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("id", ["id"]),
        ("id, params.depth ,,", ["id", "params.depth", "", ""]),
        ('id,params."a,b",metrics."c"', ["id", 'params."a,b"', 'metrics."c"']),
        ('id,params."a,b', ["id", 'params."a,b']),
    ],
)
def test_commas_in_quotes_belong_to_a_name(text, columns):
    """A quote that is never closed holds the rest."""
    assert columns == split_columns(text)


@pytest.mark.parametrize("part", [",", '",', '"a,b",', "a,"])
def test_as_many_as_an_argument_holds(part):
    """What takes hours where each comma is looked at for itself."""
    text = part * (1 << 20)

    assert text.replace(" ", "") == ",".join(split_columns(text))
