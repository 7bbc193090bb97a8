"""What only tells loads neither torch nor Brian2; a package that was put off is itself at its first use."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lists_and_what_has_a_name_in_them_are_told_without_torch_or_brian2():
    """Every kind of list, every rule, predictor and task, in one process; that they say something is asked too."""
    told = run(
        """
import contextlib, io, sys
from bioplaus.cli import catalogue, main
said = {}
def tell(*words):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(list(words)) == 0, words
    said[words] = len(out.getvalue())
tell("list")
for kind in catalogue.KINDS:
    tell("list", kind)
for kind in ("rules", "predictors", "tasks"):
    for name in catalogue.names(kind):
        tell("show", name)
assert min(said.values()) > 100, said
print(len(said), *({"torch._C", "brian2", "sklearn", "sympy"} & set(sys.modules)))
"""
    )
    count, *heavy = told.split()
    assert int(count) > 30 and heavy == []


def test_a_run_loads_nothing_to_draw_with_and_no_compiler(tmp_path):
    """From the first line of a script to the last file of a run's folder, in this process and in a worker's place."""
    told = run(
        f"""
import sys
import bioplaus as bp
task = bp.task("add", t1=2, t2=4, steps=9)
circuit = bp.circuit("cortico_cerebellar", cell="elman", inputs=task.inputs, units=4, outputs=task.outputs)
done = bp.train(circuit, task, "bp_lambda", updates=3, batch=2, evaluate_every=2, align_every=2, folder={str(tmp_path / "run")!r})
assert (done.folder / "recordings.nc").exists() and len(done.metrics) >= 3
heavy = {{"torch._dynamo", "torch._inductor", "pylab", "matplotlib.pyplot", "matplotlib.figure", "sklearn", "scipy.stats", "fontTools"}}
print(*sorted(heavy & set(sys.modules)), {{"torch._C", "brian2", "sympy"}} <= set(sys.modules))
"""
    )
    assert told.split() == ["True"]


@pytest.mark.slow
def test_a_command_whose_workers_compute_loads_no_torch_itself(tmp_path):
    """From the configuration to the last figure; that its workers have computed is asked too."""
    script = tmp_path / "typed.py"
    script.write_text(
        """
import sys
from bioplaus.cli import main
if __name__ == "__main__":
    words = "run sequential_digits --training.updates 2 --training.batch 5 --seeds 0 --only bptt,eprop --workers 2 --root"
    assert main([*words.split(), sys.argv[1]]) == 0
    print(*sorted({"torch._C", "pylab", "matplotlib.pyplot", "sklearn", "scipy.stats"} & set(sys.modules)), "matplotlib.figure" in sys.modules)
"""
    )
    done = subprocess.run([sys.executable, script, tmp_path / "runs"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"
    folder = tmp_path / "runs" / "sequential_digits"
    assert len(list(folder.glob("*/recordings.nc"))) == 2 and (folder / "figures" / "summary.pdf").exists()


def test_one_that_is_withdrawn_is_not_among_the_modules_and_is_itself_at_its_first_use():
    run(
        """
import sys, types
from bioplaus import late
late.put_off("torch")
import torch as first
late.withdraw("torch")
assert "torch" not in sys.modules and len([each for each in sys.meta_path if isinstance(each, late.Late)]) == 1
import torch as second
assert second is not first and "torch._C" not in sys.modules
assert first.ones(2).sum() == 2 and first.Tensor is second.Tensor and isinstance(second.ones(1), first.Tensor)
import torch as third
late.withdraw("torch")
assert third is first is sys.modules["torch"] and type(third) is types.ModuleType
late.withdraw("no_such_package")
"""
    )


@pytest.mark.parametrize(
    "use",
    [
        "assert torch.zeros(2).sum() == 0",
        "from torch import Tensor; assert isinstance(torch.ones(1), Tensor)",
        "import torch.nn.functional; assert torch.nn.functional.relu(torch.ones(1)) == 1",
        "from torch.nn import functional; assert functional.relu(torch.ones(1)) == 1",
        "import bioplaus as bp; assert bp.Training(optimiser='sgd', lr_schedule='StepLR', lr_schedule_options={'step_size': 1}).optimiser == 'sgd'",
    ],
)
def test_the_first_use_loads_in_place(use):
    run(
        f"""
import sys, types
from bioplaus import late
late.put_off("torch")
late.put_off("torch")
import torch
import torch as again
assert "torch._C" not in sys.modules and again is torch and torch.__name__ == "torch"
{use}
assert type(torch) is types.ModuleType and sys.modules["torch"] is torch and torch.__file__ and torch.__path__
assert not any(isinstance(each, late.Late) for each in sys.meta_path)
"""
    )


def test_what_is_here_already_is_left_alone():
    run(
        """
import sys, json
from bioplaus import late
before = list(sys.meta_path)
late.put_off("json")
assert sys.meta_path == before
late.put_off("no_such_package")
try:
    import no_such_package
except ModuleNotFoundError:
    pass
else:
    raise AssertionError
"""
    )


@pytest.mark.parametrize("typed", [True, False])
def test_a_command_that_was_typed_ends_without_a_last_search_for_garbage(typed):
    """Its objects are set aside when the process ends, and not before; a script that calls a command keeps its own way."""
    said = run(
        f"""
import atexit, gc, sys
atexit.register(lambda: print("kept", gc.get_freeze_count(), gc.isenabled()))  # registered first, it comes last
from bioplaus.cli import main
sys.argv = ["bioplaus", "list", "tasks"]
assert main({"" if typed else "sys.argv[1:]"}) == 0 and gc.get_freeze_count() == 0
"""
    )
    word, count, on = said.splitlines()[-1].split()
    assert (word, int(count) > 1000, on) == ("kept", typed, "True")
