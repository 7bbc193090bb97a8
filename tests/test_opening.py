"""Brian2 as bioplaus opens it loads nothing to draw, test or compile with, and is, for whoever uses it besides, Brian2."""

from __future__ import annotations

import subprocess
import sys

import pytest

DRAWING = ("matplotlib.pyplot", "matplotlib.pylab", "pylab")
#: what else Brian2 loads when it is opened otherwise
BESIDES = (
    "matplotlib",
    "pytest",
    "brian2.tests",
    "Cython.Build",
    "Cython.Compiler.Main",
    "numpy.f2py",
    "numpy.testing",
)


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


def test_nothing_is_loaded_that_is_not_asked_for():
    there = f"import sys; print(*sorted({set(BESIDES)} & set(sys.modules)))"
    assert run(f"import brian2; {there}") == [" ".join(sorted(BESIDES))]  # the watch works
    assert run(f"import bioplaus as bp; bp.model('lif'); {there}") == [""]


@pytest.mark.parametrize("module", ["brian2.only", "brian2.numpy_"])
def test_a_star_of_its_parts_gives_what_it_always_gives(module):
    star = f"names = {{}}\nexec('from {module} import *', names)\ndel names['__builtins__']\ntold(names)"
    plain = run(f"{TOLD}\n{star}")
    assert len(plain) > 100 and run(f"import bioplaus.symbolic\n{TOLD}\n{star}") == plain


@pytest.mark.parametrize(
    "use",
    [
        "import brian2; assert brian2.test is brian2.tests.run and brian2.tests.pytest.main",
        "from brian2 import test; import brian2.tests; assert test is brian2.tests.run is brian2.only.test",
        "import brian2.only; assert brian2.only.test.__module__ == 'brian2.tests'",
        "import brian2.numpy_ as np; assert np.testing.assert_allclose and np.f2py.__path__",
        "import numpy; assert numpy.testing.assert_allclose and numpy.f2py.__path__",
        "import matplotlib; assert matplotlib.__version__ and matplotlib.rcParams",
        "from matplotlib.figure import Figure; assert sys.modules['matplotlib'].__version__",
        "import Cython.Build; assert callable(Cython.Build.cythonize) and Cython.Build.Cache.get_cython_cache_dir()",
        "from Cython.Build import cythonize; assert cythonize.__module__ == 'Cython.Build.Dependencies'",
        "from brian2.units.fundamentalunits import Quantity; import matplotlib; assert Quantity.matplotlib.rcParams is matplotlib.rcParams",
        "from brian2.codegen.runtime.cython_rt import extension_manager as e; assert callable(e.Cython_Build.cythonize)",
    ],
)
def test_each_that_was_put_off_is_itself_at_its_first_use(use):
    run(
        f"""
import sys
import bioplaus.symbolic
from bioplaus.symbolic.opening import Held
{use}
assert not any(isinstance(module, Held) for module in sys.modules.values())
"""
    )


def test_another_thread_that_asks_for_a_part_of_matplotlib_meanwhile_can_draw():
    run(
        """
from bioplaus.symbolic import opening
import sys
del sys.modules["brian2"]
with opening.undrawn():
    import brian2
    assert "matplotlib.colors" not in sys.modules
    from matplotlib.colors import to_hex
    assert to_hex("red") == "#ff0000" and type(sys.modules["matplotlib"]) is type(sys)
"""
    )


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
