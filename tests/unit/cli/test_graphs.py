"""Graphs, whatever their boxes are called."""

from xml.etree import ElementTree

import pytest

from mlvc.cli.graphs import Graph, Node, graph_dot, graph_svg


@pytest.mark.parametrize(
    "label", ['<&">\\', "a\nb\r\0\x1b", "\uffff\ufffe\ud800", "\u202etxt.exe", "x" * 10_000_000]
)
def test_a_box_of_any_name(label):
    """The picture is XML, the text for Graphviz has a line for each box, and neither is as long as the name."""
    graph = Graph((Node("b3:1", label, is_run=True), Node("b3:2", "data", is_run=False)), (("b3:2", "b3:1"),))

    picture = "\n".join(graph_svg(graph)).encode()
    lines = list(graph_dot(graph))

    titles = [item.text for item in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}title")]
    assert "data" == titles[1]
    assert ("<" in label) == (titles[0] == label)
    assert 6 == len("\n".join(lines).encode().splitlines())
    assert '  "b3:2" -> "b3:1";' == lines[-2]
    assert 4000 > len(picture)
