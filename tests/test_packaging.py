"""What gets installed: wheel, source archive and editable install all find their content from anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bioplaus.content import KINDS

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = tuple(KINDS.values())
# What bioplaus depends on; in folders given by PYTHONPATH, no .pth file of an editable install is read.
OTHERS = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def run(*command: object, path: tuple[object, ...] = (), cwd: Path, **variables: object) -> str:
    """Run a command that must succeed, with `path` searched before what bioplaus depends on."""
    env = {name: value for name, value in os.environ.items() if name not in ("BIOPLAUS_STUDY", "PYTHONPATH")}
    env["PYTHONPATH"] = os.pathsep.join(map(str, (*path, *OTHERS)))
    env |= {name: str(value) for name, value in variables.items()}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def build(kind: str, source: Path, into: Path) -> Path:
    """Build by the backend itself, without the network: what `pip` and `python -m build` call."""
    into.mkdir(parents=True, exist_ok=True)
    code = f"import sys; from hatchling.build import build_{kind} as build; print(build(sys.argv[1]))"
    return into / run(sys.executable, "-c", code, into, cwd=source).split()[-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the project as a clone has it, with a mark to tell its files from the original's."""
    copy = tmp_path_factory.mktemp("clone") / "bioplaus"
    copy.mkdir()
    for name in ("bioplaus", *FOLDERS):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "LICENSE",
        "constraints.txt",
        "Makefile",
        ".gitignore",
    ):
        shutil.copy(ROOT / name, copy)
    (copy / "models" / "marked.py").write_text("def marked():\n    return 'marked'\n")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    return build("wheel", checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    site = tmp_path_factory.mktemp("installed") / "site-packages"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target")
    run(*pip, site, wheel, cwd=site.parent)
    return site


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def content_of(folder: Path) -> set[str]:
    found = (file for kind in FOLDERS for file in (folder / kind).rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix() for file in found if "__pycache__" not in file.parts}


def test_the_wheel_holds_the_content_inside_the_package_only(checkout, wheel):
    inside = members(wheel)
    assert content_of(checkout)
    assert {f"bioplaus/_shipped/{file}" for file in content_of(checkout)} <= inside
    assert {name.split("/")[0].split("-")[0] for name in inside} == {"bioplaus"}  # nothing else lands in site-packages
    assert not [name for name in inside if "__pycache__" in name]
    assert {f"bioplaus/content/template/{file}" for file in ("bioplaus.toml", ".gitignore", "README.md")} <= inside


def test_the_source_archive_builds_the_same_wheel(checkout, wheel, tmp_path):
    archive = build("sdist", checkout, tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    assert content_of(unpacked) == content_of(checkout)
    assert members(build("wheel", unpacked, tmp_path / "wheel")) == members(wheel)


WHERE = """
import json
import bioplaus as bp
from bioplaus import content
found = str(content.names('model')['marked'])
print(json.dumps([bp.__file__, found, bp.model('marked')]))
"""


def test_an_installed_wheel_finds_its_content_from_anywhere(installed, tmp_path):
    package, marked, answer = json.loads(run(sys.executable, "-c", WHERE, path=(installed,), cwd=tmp_path))
    assert Path(package).parent == installed / "bioplaus"
    assert Path(marked) == installed / "bioplaus" / "_shipped" / "models" / "marked.py"
    assert answer == "marked"
    ask = "import bioplaus as bp; print(bp.model('lif', tau_m=30*bp.ms).states)"
    assert "('v',)" in run(sys.executable, "-c", ask, path=(installed,), cwd=tmp_path)


def test_an_editable_install_reads_the_checkout(checkout, tmp_path):
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--ignore-installed", "--editable", checkout, cwd=tmp_path)
    package, marked, answer = json.loads(run(python, "-c", WHERE, cwd=tmp_path))
    assert Path(package).parent == checkout / "bioplaus"
    assert Path(marked) == checkout / "models" / "marked.py"
    assert answer == "marked"


WORKERS = """
import multiprocessing
import bioplaus as bp
from bioplaus import content

if __name__ == "__main__":
    shipped, mine = content.load("model", "marked").marked, content.load("model", "lif").Mine
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(shipped), type(pool.apply(mine)) is mine, bp.model("lif"))
"""


def test_an_installed_study_shadows_and_reaches_spawned_workers(installed, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    make = "import sys; from bioplaus import content; content.new(sys.argv[1])"
    run(sys.executable, "-c", make, tmp_path / "study", path=(installed,), cwd=tmp_path)
    mine = tmp_path / "study" / "models" / "lif.py"
    mine.write_text("class Mine:\n    pass\n\ndef lif():\n    return 'shadowed'\n")
    inside = run(sys.executable, script, path=(installed,), cwd=mine.parent)
    named = run(sys.executable, script, path=(installed,), cwd=tmp_path, BIOPLAUS_STUDY=tmp_path / "study")
    assert inside.split() == named.split() == ["marked", "True", "shadowed"]


def test_the_content_missing_from_a_copied_package_is_explained(installed, tmp_path):
    shutil.copytree(installed / "bioplaus", tmp_path / "bioplaus", ignore=shutil.ignore_patterns("_shipped"))
    (tmp_path / "models").mkdir()  # a stranger's folder of that name is not ours
    (tmp_path / "models" / "lif.py").write_text("raise RuntimeError\n")
    ask = """
import bioplaus as bp
try:
    bp.model("lif")
except bp.errors.ContentError as error:
    print(error)
"""
    assert "are missing: neither" in run(sys.executable, "-c", ask, path=(tmp_path,), cwd=tmp_path)


def constraints(python: str) -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    meant = [pin for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]
    return {pin.name.lower(): str(pin.specifier).removeprefix("==") for pin in meant}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_constraints_satisfy_every_requirement(python):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = constraints(python)
    checked = 0
    for requirement in map(Requirement, project["dependencies"] + project["optional-dependencies"]["dev"]):
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement
            checked += 1
    assert checked > 15
    assert pinned["torch"] == "2.13.0"
    assert not [name for name, version in pinned.items() if "+" in version]  # no build of one machine


def test_the_commands_that_a_newcomer_types_are_there():
    listed = subprocess.run(["make", "-n", "demo", "test", "lint", "check"], cwd=ROOT, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    for command in (
        "bioplaus run sequential_digits",
        "pytest -n 2",
        "ruff check",
        "pyright",
        "bioplaus check",
    ):
        assert command in listed.stdout
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script and "make lint" in script and os.access(ROOT / ".ci" / "run", os.X_OK)
