"""Pictures: every one is well-formed XML whatever its texts hold, and a graph's layout keeps its laws."""

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.cli.drawing import STYLE, Bar, Node, as_svg_file, draw_bars, draw_graph
from mlvc.cli.layout import lay_out

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'></svg>",
    "]]>",
    "a\n\x00\x1b[31m\u202e\ud800",
    "&amp;",
    "x" * 5000,
    "数据" * 40,
]
GRAPHS = st.integers(1, 9).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=20).map(
            lambda pairs: [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]
        ),
    )
)


def graph(nodes, edges=()):
    return ElementTree.fromstring(draw_graph(nodes, edges, key="g", title="a title", description="in words"))


def texts(picture):
    return [item.text or "" for item in picture.iter(f"{SVG}text")]


@given(GRAPHS)
def test_no_two_boxes_overlap_and_every_edge_ends_at_its_boxes(sizes):
    """Whatever the graph, cycles included."""
    count, edges = sizes
    widths = [40.0 + 10 * box for box in range(count)]

    layout = lay_out(widths, 50, edges)

    for (x, y), width in zip(layout.corners, widths, strict=True):
        assert 0 <= x <= layout.width - width + 0.01
        assert 0 <= y <= layout.height - 50 + 0.01
    for one, other in itertools.combinations(range(count), 2):
        (x1, y1), (x2, y2) = layout.corners[one], layout.corners[other]
        assert x1 + widths[one] <= x2 or x2 + widths[other] <= x1 or y1 + 50 <= y2 or y2 + 50 <= y1
    for (source, target), line in zip(edges, layout.lines, strict=True):
        for box, (x, y) in ((source, line[0]), (target, line[-1])):
            left, top = layout.corners[box]
            assert top + 25 == pytest.approx(y)
            assert x in (pytest.approx(left), pytest.approx(left + widths[box]))


def test_causes_stand_left_of_effects():
    """A source stands right before what it leads to, not at the far left."""
    layout = lay_out([50.0] * 5, 50, [(0, 1), (1, 2), (2, 3), (4, 3)])
    columns = [x for x, _ in layout.corners]

    assert columns[0] < columns[1] < columns[2] < columns[3]
    assert columns[2] == columns[4]


def test_crossings_that_need_not_be_are_undone():
    """Two chains given in opposite orders lie side by side."""
    layout = lay_out([50.0] * 4, 50, [(0, 3), (1, 2)])
    rows = [y for _, y in layout.corners]

    assert (rows[0] < rows[1]) == (rows[3] < rows[2])


def test_edge_over_several_layers_passes_no_box():
    """It has a row of its own in the layers that it passes."""
    layout = lay_out([50.0] * 3, 50, [(0, 1), (1, 2), (0, 2)])
    x, y = layout.corners[1]

    passing = [point for point in layout.lines[2] if x <= point[0] <= x + 50]
    assert passing
    assert all(not y <= point[1] <= y + 50 for point in passing)


def test_deep_chain_is_drawn():
    """Nothing in the layout recurses."""
    layout = lay_out([50.0] * 5000, 50, [(box, box + 1) for box in range(4999)])

    assert 5000 == len({x for x, _ in layout.corners})


def test_picture_is_named_for_those_who_cannot_see_it():
    """Title and description, by ids of its own; every box says what it is in full."""
    picture = graph(
        [Node("a", "data", "data/" + "x" * 100), Node("b", "run", "train")], [("a", "b"), ("b", "?")]
    )

    assert ("img", "g-title", "g-text") == tuple(
        picture.get(name) for name in ("role", "aria-labelledby", "aria-describedby")
    )
    named = {item.get("id"): item.text for item in picture if item.get("id")}
    assert {"g-title": "a title", "g-text": "in words"} == named
    assert "data data/" + "x" * 100 in [item.text for item in picture.iter(f"{SVG}title")]
    assert 1 == sum(item.get("class") == "edge" for item in picture.iter(f"{SVG}path"))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_leaves_its_place(text):
    """Neither as markup nor out of its box; nothing but our own elements is there."""
    boxes = graph([Node(text, text, text, text, text), Node("b", "run", "b")], [(text, "b")])
    bars = ElementTree.fromstring(
        draw_bars([Bar(text, 0.5, text, text)], key="b", title=text, description=text, ticks=[(0.5, text)])
    )

    for picture in (boxes, bars):
        assert {"svg", "g", "title", "desc", "text", "rect", "path"} >= {
            item.tag.removeprefix(SVG) for item in picture.iter()
        }
        assert all(len(shown) <= 34 for shown in texts(picture))
        assert all(shown.isprintable() for shown in texts(picture))
    x, width = next((float(item.get("x")), float(item.get("width"))) for item in boxes.iter(f"{SVG}rect"))
    assert x >= 0
    assert x + width <= float(boxes.get("width"))


def test_bars_are_as_long_as_their_share():
    """Clamped to the scale; what is no number is the worst; what is nothing can still be seen."""
    picture = ElementTree.fromstring(
        draw_bars(
            [Bar("a", share, "t") for share in (0.0, 0.5, 1.0, 7.0, -1.0, float("nan"))],
            key="b",
            title="t",
            description="d",
        )
    )

    assert ["1", "160", "320", "320", "1", "320"] == [
        item.get("width") for item in picture.iter(f"{SVG}rect")
    ]


def test_picture_as_a_file_brings_its_colours():
    """And nothing from elsewhere; dark only on a screen, because paper is white."""
    document = as_svg_file(draw_graph([Node("a", "data", "a")], [], key="g", title="t", description="d"))

    picture = ElementTree.fromstring(document.encode())
    assert STYLE.strip() == picture.find(f"{SVG}style").text.strip()
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"\w+://[^\"]+", document)
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE


def test_graph_without_boxes_is_a_picture():
    """Callers need no special case."""
    assert "svg" == graph([]).tag.removeprefix(SVG)
