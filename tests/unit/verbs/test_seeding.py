"""What sources draw without a seed, read and never executed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.verbs import seeding
from mlvc.verbs.seeding import Look, look_at, look_at_notebook


def drawn(source):
    return [(place.line, place.what, place.generator) for place in look_at(source.encode()).draws]


@pytest.mark.parametrize(
    ("source", "what", "generator"),
    [
        ("import random\nrandom.random()", "random.random()", "random"),
        ("from random import choice as pick\npick([1])", "random.choice()", "random"),
        ("import random\nrandom.Random(None)", "random.Random()", None),
        ("import numpy as np\nnp.random.rand(2)", "numpy.random.rand()", "numpy"),
        ("from numpy import random as r\nr.shuffle([1])", "numpy.random.shuffle()", "numpy"),
        ("import numpy.random\nnumpy.random.default_rng()", "numpy.random.default_rng()", None),
        ("from numpy.random import RandomState\nRandomState(seed=None)", "numpy.random.RandomState()", None),
        ("import torch\ntorch.randn(2)", "torch.randn()", "torch"),
        ("import torch.nn as nn\nnn.Linear(1, 2)", "torch.nn.Linear()", "torch"),
        ("from sklearn.cluster import KMeans\nKMeans(2)", "sklearn.cluster.KMeans()", "numpy"),
        (
            "from sklearn.cluster import KMeans\nKMeans(2, random_state=None)",
            "sklearn.cluster.KMeans()",
            "numpy",
        ),
        ("from scipy import stats\nstats.norm.rvs()", "scipy.stats.norm.rvs()", "numpy"),
        (
            "from sklearn.model_selection import KFold\nKFold(5, shuffle=True)",
            "sklearn.model_selection.KFold()",
            "numpy",
        ),
        (
            "from torch.utils.data import DataLoader\nDataLoader(data, shuffle=True)",
            "torch.utils.data.DataLoader()",
            "torch",
        ),
        (
            "from torch.utils.data import random_split\nrandom_split(data, [0.8, 0.2])",
            "torch.utils.data.random_split()",
            "torch",
        ),
        ("import random, time\nrandom.Random(int(time.time()))", "random.Random()", None),
        (
            (
                "import numpy as np; from datetime import datetime\n"
                "np.random.default_rng(datetime.now().microsecond)"
            ),
            "numpy.random.default_rng()",
            None,
        ),
    ],
)
def test_draws_without_a_seed(source, what, generator):
    """Under whatever name the import binds."""
    assert [(2, what, generator)] == drawn(source)


@pytest.mark.parametrize(
    "source",
    [
        "import random\nrandom.Random(1).random()",
        "import random\nrandom.seed(1)\nrandom.getstate()",
        "import random\nrandom.SystemRandom()",
        "import numpy as np\nnp.random.default_rng(seed=0)",
        "import numpy as np\nnp.random.Generator(np.random.PCG64(1))",
        "import torch\ntorch.zeros(2)\ntorch.nn.ReLU()",
        "import torch\ntorch.randn(2, generator=g)",
        "from sklearn.cluster import KMeans\nKMeans(2, random_state=0)\nKMeans(**options)",
        "from sklearn.linear_model import LinearRegression\nLinearRegression()",
        (
            "from sklearn.model_selection import KFold, train_test_split as split\n"
            "KFold(5)\nKFold(5, shuffle=True, random_state=1)\nsplit(x, shuffle=False)\nsplit(x, shuffle=given)"
        ),
        (
            "from torch.utils.data import DataLoader as Loader, random_split\n"
            "Loader(x)\nLoader(x, shuffle=False)\nLoader(x, shuffle=True, generator=g)\n"
            "random_split(x, [0.8, 0.2], generator=g)"
        ),
        "import random\nrandom.Random(now())",
        "from .random import choice\nchoice([1])",
        "def random(): ...\nrandom.random()",
        "import mine.random\nmine.random.random()",
    ],
)
def test_draws_with_a_seed_or_none_at_all(source):
    """A seed, a generator that is handed in, arguments that are not known, and names of the project's own."""
    assert [] == drawn(source)


@pytest.mark.parametrize(
    ("source", "seeds"),
    [
        ("import random\nrandom.seed(1)", {"random"}),
        ("import random\nrandom.seed()\nrandom.seed(None)", set()),
        ("import random, time as t, os\nrandom.seed(t.time_ns() % 7)\nrandom.seed(os.urandom(4))", set()),
        ("import numpy, random, time\nrandom.seed(3)\nnumpy.random.seed(int(time.time()))", {"random"}),
        ("from numpy.random import seed\nseed(SEED)", {"numpy"}),
        ("import torch\ntorch.manual_seed(1)", {"torch"}),
        ("from transformers import set_seed\nset_seed(1)", {"random", "numpy", "torch"}),
        ("import lightning as L\nL.seed_everything(1)", {"random", "numpy", "torch"}),
    ],
)
def test_seeds(source, seeds):
    """A seed that is nothing seeds nothing."""
    assert seeds == look_at(source.encode()).seeds


def test_source_that_names_nothing_of_interest_is_not_parsed():
    """Every name that is looked for would have had it parsed."""
    assert Look() == look_at(b"this is no Python at all")
    named = [*seeding._SEEDING, *seeding._OWN_GENERATORS, *seeding._UNDOING, seeding._SETTLING]
    draws = [
        "torch.rand",
        "sklearn.cluster.KMeans",
        "scipy.stats.norm.rvs",
        "numpy.random.rand",
        "random.random",
    ]
    assert [] == [name for name in [*named, *draws] if not seeding._OF_INTEREST.search(name.encode())]


def notebook(*cells, language="python"):
    made = [{"cell_type": "code", "source": cell} for cell in cells]
    made.insert(1, {"cell_type": "markdown", "source": ["# a title"]})
    return json.dumps({"cells": made, "metadata": {"language_info": {"name": language}}}).encode()


def test_notebook():
    """Its code cells are one program, of which each line is in a cell; what is no Python is left out."""
    source = notebook(
        ["import numpy as np\n", "import torch\n", "%matplotlib inline\n", "!pip install x"],
        "%%bash\nset -e",
        "this is no Python",
        "%%time\nif True:\n    !ls\nnp.random.rand()\ntorch.backends.cudnn.benchmark = True",
        "torch.manual_seed(0)",
    )
    look = look_at_notebook(source)

    assert [(4, "numpy.random.rand()", "numpy")] == [
        (place.line, place.what, place.generator) for place in look.draws
    ]
    assert [(4, "torch.backends.cudnn.benchmark = True")] == [
        (place.line, place.what) for place in look.undoes
    ]
    assert {"torch"} == look.seeds


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"metadata": null, "cells": 1}',
        b'{"metadata": {}, "cells": [{}]}',
        b'{"metadata": {}, "cells": [{"cell_type": "code", "source": 5}]}',
        b"[" * 100_000,
        notebook("x <- rnorm(3)", language="R"),
    ],
)
def test_what_is_no_notebook_of_python(source):
    """Another language, and JSON of another form."""
    assert look_at_notebook(source) is None


def test_switches_of_torch():
    """Those that undo determinism, and those that ask for it."""
    source = (
        b"import torch\n"
        b"torch.backends.cudnn.deterministic = True\n"
        b"torch.backends.cudnn.benchmark = True\n"
        b"torch.backends.other = None\n"
        b"torch.use_deterministic_algorithms(False)\n"
    )
    look = look_at(source)

    assert ["torch.backends.cudnn.benchmark = True", "torch.use_deterministic_algorithms(False)"] == [
        place.what for place in look.undoes
    ]
    assert (True, False) == (look.imports_torch, look.settles_torch)
    assert look_at(
        b"from torch import *\nimport torch\ntorch.use_deterministic_algorithms(mode=True)"
    ).settles_torch


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_look_or_nothing(source):
    """Whatever stands in a file, nothing is raised."""
    assert isinstance(look_at(source), Look | None)
    assert isinstance(look_at_notebook(source), Look | None)
