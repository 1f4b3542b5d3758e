"""Metrics as pictures: the same shapes as SVG and PNG, whatever the numbers and names are."""

import io
import math
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlvc.cli.plot import Dot, Label, Line, as_svg, plot
from mlvc.cli.raster import as_png
from mlvc.cli.tabular import FormatMissingError
from mlvc.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"
BLUE, RED = (0x1F, 0x77, 0xB4), (0xD6, 0x27, 0x28)
numbers = st.floats() | st.sampled_from([1e308, -1e308, 5e-324, 0.0])
courses = st.lists(st.tuples(numbers, numbers), max_size=6)
HOSTILE = ["<script>", "\"'></svg>", "]]>", "a\n\x00\x1b\u202e\ud800", "&amp;", "x" * 5000, "数据"]


def shapes_of(picture, kind):
    return [shape for shape in picture.shapes if isinstance(shape, kind)]


def test_metric_over_runs():
    """One line, with a point for each run that has the metric, at the height of its value."""
    picture = plot(["a", "b", "c"], {"mae": [10.0, None, 5.0]}, {})

    dots = shapes_of(picture, Dot)
    assert ["10.0", "5.0"] == [dot.hint for dot in dots]
    assert dots[0].at[0] < dots[1].at[0]
    assert dots[0].at[1] < dots[1].at[1]
    assert tuple(dot.at for dot in dots) == shapes_of(picture, Line)[0].points


def test_metric_over_steps():
    """One line for each run with steps; a run that has only a value is a dashed level among them."""
    picture = plot(
        ["a", "b", "c", "d"],
        {"loss": [1.0, 3.0, 2.0, None]},
        {"loss": [[(0, 4.0), (5, 1.0)], [(5, 4.0), (10, 3.0)], [], []]},
    )

    first, second, level = shapes_of(picture, Line)
    left, right = first.points[0][0], second.points[-1][0]
    assert (left + right) / 2 == first.points[1][0] == second.points[0][0]
    assert first.points[0][1] == second.points[0][1] < second.points[1][1] < first.points[1][1]
    assert [False, False, True] == [line.is_dashed for line in (first, second, level)]
    assert second.points[1][1] < level.points[0][1] == level.points[1][1] < first.points[1][1]
    assert 3 == len({line.colour for line in (first, second, level)})
    texts = [label.text for label in shapes_of(picture, Label)]
    assert {"loss", "a", "b", "c", "d", "step", "0", "10", "1", "4"} == set(texts)


def test_what_is_no_number_leaves_a_gap():
    """Before and behind it the line goes on."""
    picture = plot(["a"], {"loss": [1.0]}, {"loss": [[(0, 2.0), (1, math.nan), (2, math.inf), (3, 1.0)]]})

    assert [2] == [len(line.points) for line in shapes_of(picture, Line)]


def test_long_course_is_drawn_with_its_extremes():
    """A picture has no more points than can be seen, and a single spike is still there."""
    course = [(float(step), 100.0 if step == 54_321 else math.sin(step)) for step in range(100_000)]

    picture = plot(["a"], {"loss": [course[-1][1]]}, {"loss": [course]})

    (line,) = shapes_of(picture, Line)
    top = min(height for _, height in line.points)
    assert len(line.points) < 4 * 700
    assert 1 == sum(height == top for _, height in line.points)
    assert sorted(line.points, key=lambda point: point[0]) == list(line.points)


@given(st.lists(numbers | st.none(), min_size=1, max_size=4), st.lists(courses, min_size=4, max_size=4))
def test_any_numbers_are_drawn_inside(values, told):
    """Every point lies in its panel."""
    labels = [str(number) for number in range(len(values))]
    picture = plot(labels, {"m": values, "n": values}, {"n": told[: len(values)]})

    for line in shapes_of(picture, Line):
        for x, y in line.points:
            assert 71.9 <= x <= picture.width - 71.9
            assert 0 <= y <= picture.height
    assert ElementTree.fromstring(as_svg(picture)) is not None


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_leaves_its_place(text):
    """Neither as markup nor as a line of its own; both files are what they say."""
    picture = plot([text], {text: [1.0], text + "2": [1.0]}, {text: [[(0, 1.0), (1, 2.0)]]})

    found = ElementTree.fromstring(as_svg(picture))
    assert {"svg", "rect", "text", "polyline", "circle", "title"} == {
        item.tag.removeprefix(SVG) for item in found.iter()
    }
    assert all(item.text.isprintable() and len(item.text) <= 300 for item in found.iter(f"{SVG}text"))
    Image.open(io.BytesIO(as_png(picture))).verify()


def test_png_shows_what_the_svg_does():
    """The lines in their colours at their places, twice as fine; a level has gaps."""
    picture = plot(["HHH", "LLL"], {"loss": [0.0, 0.5]}, {"loss": [[(0, 1.0), (1, 0.0)], []]})

    image = Image.open(io.BytesIO(as_png(picture)))

    assert (2 * picture.width, 2 * picture.height) == image.size
    falling, level = shapes_of(picture, Line)
    for share in (0.1, 0.4, 0.7):
        (x1, y1), (x2, y2) = falling.points
        assert BLUE == image.getpixel(
            (round(2 * (x1 + share * (x2 - x1))), round(2 * (y1 + share * (y2 - y1))))
        )
    row = [image.getpixel((x, round(2 * level.points[0][1]))) for x in range(image.width)]
    assert 500 < row.count(RED) < 1_000
    below = image.crop((0, round(2 * (picture.height - 90)), image.width, image.height))
    assert {BLUE, RED} <= {colour for _, colour in below.getcolors(100_000)}


def test_png_of_too_many_metrics():
    """One error, before any memory is taken."""
    picture = plot(["a"], {str(number): [1.0] for number in range(100)}, {})

    with pytest.raises(UsageError, match="too many metrics"):
        as_png(picture)


def test_png_without_its_library(monkeypatch):
    """The error says how to get it, and that SVG needs nothing."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(FormatMissingError) as caught:
        as_png(plot(["a"], {"m": [1.0]}, {}))

    assert "mlvc[plots]" in caught.value.hint
    assert ".svg" in caught.value.hint
