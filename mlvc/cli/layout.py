"""Where the boxes of a graph stand: in layers from left to right, with few crossings. Pure geometry.

After Sugiyama, Tagawa and Toda (1981): a layer for each box by the longest way that leads to it, then boxes of a
layer ordered by the mean place of their neighbours, back and forth. Boxes are numbers from 0 here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layout", "Point", "lay_out"]

Point = tuple[float, float]

_SWEEPS = 8
_GAP_X, _GAP_Y = 56, 16


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands; x grows to the right, y downwards, and nothing is left of or above 0.

    Attributes:
        corners: The upper left corner of each box.
        lines: For each edge the points that it leads through, from the right side of one box to the left of another.
        width: Of the whole.
        height: Likewise.
    """

    corners: Sequence[Point]
    lines: Sequence[Sequence[Point]]
    width: float
    height: float


def lay_out(widths: Sequence[float], height: float, edges: Sequence[tuple[int, int]]) -> Layout:
    """Returns the layout of boxes of the given widths and one height, each edge from its cause to its effect.

    Edges that close a cycle lead back, from right to left.
    """
    count = len(widths)
    layer_of = _layers(count, _without_cycles(count, edges))
    layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
    for box in range(count):
        layers[layer_of[box]].append(box)
    # An edge that passes layers is a chain of points, which are ordered among the boxes of those layers.
    chains = []
    for source, target in edges:
        step = 1 if layer_of[target] > layer_of[source] else -1
        chain = [source]
        for passed in range(layer_of[source] + step, layer_of[target], step):
            chain.append(len(layer_of))
            layers[passed].append(len(layer_of))
            layer_of.append(passed)
        chains.append([*chain, target])
    _untangle(layers, layer_of, chains)

    heights = [height if item < count else 0.0 for item in range(len(layer_of))]
    tall = [sum(heights[item] for item in layer) + _GAP_Y * (len(layer) - 1) for layer in layers]
    left, middle, columns = 0.0, [0.0] * len(layer_of), []
    for layer, own in zip(layers, tall, strict=True):
        y = (max(tall) - own) / 2
        for item in layer:
            middle[item] = y + heights[item] / 2
            y += heights[item] + _GAP_Y
        wide = max((widths[item] for item in layer if item < count), default=0.0)
        columns.append((left, wide))
        left += wide + _GAP_X

    def ends(item: int) -> tuple[float, float]:
        """Returns where a box begins and ends; a point of an edge goes straight through its layer."""
        begin, wide = columns[layer_of[item]]
        if item >= count:
            return begin, begin + wide
        return begin + (wide - widths[item]) / 2, begin + (wide + widths[item]) / 2

    return Layout(
        [(ends(box)[0], middle[box] - height / 2) for box in range(count)],
        [_line(chain, ends, middle) for chain in chains],
        max(left - _GAP_X, 0.0),
        max(tall, default=0.0),
    )


def _without_cycles(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the edges without those that lead back to a box that is still open when they are found."""
    targets: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        targets[source].append(target)
    kept, state = [], [0] * count  # 0 not seen, 1 open, 2 done
    for root in range(count):
        pending = [root] if state[root] == 0 else []
        while pending:
            box = pending[-1]
            state[box] = 1
            if not targets[box]:
                state[box] = 2
                pending.pop()
                continue
            target = targets[box].pop()
            if state[target] != 1:
                kept.append((box, target))
            if state[target] == 0:
                pending.append(target)
    return kept


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Returns the layer of each box: right of all its causes, and of a box without causes right before an effect."""
    targets: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in edges:
        targets[source].append(target)
        waiting[target] += 1
    layer_of = [0] * count
    sources = [box for box in range(count) if not waiting[box]]
    pending = list(sources)
    while pending:
        box = pending.pop()
        for target in targets[box]:
            layer_of[target] = max(layer_of[target], layer_of[box] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                pending.append(target)
    for box in sources:
        layer_of[box] = min((layer_of[target] for target in targets[box]), default=1) - 1
    return layer_of


def _untangle(layers: Sequence[list[int]], layer_of: Sequence[int], chains: Sequence[Sequence[int]]) -> None:
    """Orders each layer by the mean place of what it is tied to in the layer before, or after, in turns."""
    before: list[list[int]] = [[] for _ in layer_of]
    after: list[list[int]] = [[] for _ in layer_of]
    for chain in chains:
        for one, other in pairwise(chain):
            left, right = sorted((one, other), key=layer_of.__getitem__)
            before[right].append(left)
            after[left].append(right)
    place = [0.0] * len(layer_of)

    def settle(layer: Sequence[int]) -> None:
        for number, item in enumerate(layer):
            place[item] = (number + 1) / (len(layer) + 1)

    for layer in layers:
        settle(layer)
    for sweep in range(_SWEEPS):
        ties = after if sweep % 2 else before
        for layer in reversed(layers) if sweep % 2 else layers:
            wanted = {
                item: sum(place[tied] for tied in ties[item]) / len(ties[item]) if ties[item] else place[item]
                for item in layer
            }
            layer.sort(key=wanted.__getitem__)
            settle(layer)


def _line(
    chain: Sequence[int], ends: Callable[[int], tuple[float, float]], middle: Sequence[float]
) -> list[Point]:
    source, *bends, target = chain
    forward = ends(source)[0] < ends(target)[0]
    points = [(ends(source)[forward], middle[source])]
    for bend in bends:
        points += [(x, middle[bend]) for x in (ends(bend) if forward else reversed(ends(bend)))]
    return [*points, (ends(target)[not forward], middle[target])]
