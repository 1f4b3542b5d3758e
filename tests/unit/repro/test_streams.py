"""What random states and small operations say about two executions, the least that is sure and no more."""

import json

import pytest

from mlvc.repro.diagnose.streams import drawn_unseeded, number_causes, stream_causes


def facts(**generators):
    return {"random": json.dumps(generators)}


def generator(end, *, unseeded=False):
    return {"start": "0", "seeded": not unseeded, "drawn_unseeded": unseeded, "end": end}


def test_a_generator_that_nobody_seeded_is_named():
    """Where either execution drew from it; its state says nothing more then."""
    then = facts(numpy=generator("a", unseeded=True), random=generator("a"))
    now = facts(numpy=generator("b", unseeded=True), random=generator("a"))

    (cause,) = stream_causes(then, now)

    assert ("unseeded-random", "likely") == (cause.cause, cause.status)
    assert "NumPy's global generator was drawn from before anything seeded it" == cause.detail
    assert ("NumPy's global generator",) == drawn_unseeded(then, {})


def test_a_stream_that_ended_elsewhere_is_named():
    """Seeded, and left in another state; torch starts from one seed always, so drawing from it at once is no chance."""
    then = facts(numpy=generator("a"), torch=generator("a", unseeded=True), random=generator("a"))
    now = facts(numpy=generator("b"), torch=generator("b", unseeded=True), random=generator("a"))

    found = [(cause.cause, cause.detail.partition(" ended")[0]) for cause in stream_causes(then, now)]

    assert [
        ("random-stream", "NumPy's global generator"),
        ("random-stream", "torch's global generator"),
    ] == found


@pytest.mark.parametrize("text", ["[]", "null", "{", '{"numpy": 1}', '{"numpy": {"end": 1}}', "[" * 100_000])
def test_made_up_facts_say_nothing(text):
    """The command writes them."""
    assert [] == list(stream_causes({"random": text}, facts(numpy=generator("a"))))
    assert [] == list(stream_causes(facts(numpy=generator("a")), {"random": text}))


def test_operations_name_their_layer_the_lowest_first():
    """What one side lacks is not compared, and nothing is said where all agree."""
    then = dict.fromkeys(
        ["math.exp", "numpy.dgemm", "numpy.exp", "numpy.log", "torch.conv2d", "torch.normal", "torch.sqrt32"],
        "a",
    )
    now = then | {"numpy.log": "b", "torch.sqrt32": "b", "torch.normal": "b", "numpy.new": "b"}

    (cause,) = number_causes(then, now)

    assert [] == list(number_causes(then, then))
    assert [] == list(number_causes(then, {}))
    assert ("numeric-layer", "likely") == (cause.cause, cause.status)
    assert (
        "3 of 7 small operations give other bits here: random streams (torch.normal);"
        " NumPy's own loops (numpy.log); torch's own kernels (torch.sqrt32)"
    ) == cause.detail
