"""Brian2 as bioplaus opens it loads nothing to draw with, and is, for whoever uses it besides, Brian2."""

from __future__ import annotations

import subprocess
import sys

import pytest

DRAWING = ("matplotlib.pyplot", "matplotlib.pylab", "pylab")


def run(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


#: every name with what it is: its kind and, where it says so, its own name and home
TOLD = """
def told(names):
    for name in sorted(names):
        value = names[name]
        if not name.startswith("__"):
            say = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
            print(name, type(value).__name__, getattr(value, "__module__", None), say)
"""


def test_a_star_gives_what_it_always_gives():
    star = "names = {}\nexec('from brian2 import *', names)\ndel names['__builtins__']\ntold(names)"
    plain = run(f"{TOLD}\n{star}")
    ours = run(f"import bioplaus.symbolic\n{TOLD}\n{star}")
    assert len(plain) > 1000 and ours == plain
    assert {"plot", "figure", "NeuronGroup", "max", "ms", "random"} <= {line.split()[0] for line in ours}


def test_its_own_dictionary_is_complete_once_a_name_was_missing():
    told = f"{TOLD}\nimport brian2\nassert not hasattr(brian2, 'no_such_name')\ntold(vars(brian2))"
    assert run(f"import bioplaus.symbolic\n{told}") == run(told)


@pytest.mark.parametrize(
    "use",
    [
        "import brian2; assert brian2.plot is pyplot().plot",
        "from brian2 import plot, figure; assert figure is pyplot().figure",
        "from brian2 import *; assert plot is pyplot().plot and 2*ms + 1*ms == 3*ms and max is __builtins__.max",
        "import brian2; assert hasattr(brian2, 'subplot') and not hasattr(brian2, 'no_such_name')",
        "import brian2; assert brian2.np is brian2.numpy_ and brian2.max is max and brian2.random(2).shape == (2,)",
        "import pylab; assert pylab.plot is pyplot().plot and pylab.__file__",
        "from pylab import *; assert plot is pyplot().plot",
        "import matplotlib.pyplot as plt; import brian2; assert brian2.plot is plt.plot",
    ],
)
def test_whoever_uses_it_besides_finds_it_whole(use):
    """Before the use nothing to draw with is there."""
    run(
        f"""
import sys
def pyplot():
    return sys.modules["matplotlib.pyplot"]
import bioplaus as bp
bp.model("lif")
assert "brian2" in sys.modules and not {set(DRAWING)} & set(sys.modules)
{use}
"""
    )


@pytest.mark.parametrize("first", ["import brian2", "from brian2 import *", "import pylab", "import matplotlib.pyplot"])
def test_what_was_there_before_is_left_alone(first):
    run(
        f"""
import sys
{first}
before = {{name: sys.modules[name] for name in {DRAWING} if name in sys.modules}}
import bioplaus.symbolic, brian2
assert before and all(sys.modules[name] is module for name, module in before.items())
assert ("__getattr__" in vars(brian2)) is ({first!r} == "import matplotlib.pyplot")
assert brian2.plot is sys.modules["matplotlib.pyplot"].plot
"""
    )


def test_another_thread_that_asks_for_pylab_meanwhile_can_draw():
    run(
        """
from bioplaus.symbolic import opening
import sys
del sys.modules["brian2"]
with opening.undrawn():
    import pylab, brian2
    assert not hasattr(pylab, "__wrapped__") and "matplotlib.pyplot" not in sys.modules
    assert pylab.plot is sys.modules["matplotlib.pyplot"].plot and sys.modules["pylab"].figure is pylab.figure
"""
    )
