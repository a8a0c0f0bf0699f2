"""The wheels, not the checkout: built, installed outside it, their requirements met, and used there."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from upkeep.distributions import distributions

ROOT = Path(__file__).parents[1]
NAMES = tuple(one.name for one in distributions() if one.installed)
LARGE = tuple(one.name for one in distributions() if not one.installed)  # built, and not installed here
DISTRIBUTIONS = tuple(one.folder for one in distributions())


UNMET = """
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from packaging.requirements import Requirement

for name in sys.argv[1:]:
    for required in map(Requirement, requires(name)):
        if required.marker is None or required.marker.evaluate({"extra": ""}):
            try:
                if version(required.name) not in required.specifier:
                    print(name, "requires", required)
            except PackageNotFoundError:
                print(name, "requires", required, "which is not there")
"""

SUITE = """
from editcore.testing.conformance import MethodConformance
from editcore.testing.tiny import FAMILIES, tiny_model


def test_families_are_made(tmp_path):
    assert (tiny_model(FAMILIES[0], tmp_path) / "model.safetensors").is_file()


class TestMine(MethodConformance):
    method = "ft-m"
    hparams = {"layers": [1], "steps": 2}

    @classmethod
    def model(cls, folder):
        return tiny_model("llama", folder)
"""
"""What the author of a plugin inherits from the installed package, with nothing of the checkout."""


def run(*command: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def bare(folder: Path) -> Path:
    """The Python of an environment that has the libraries of this one, which takes a minute less than fetching them,
    and nothing of the checkout: a folder named in a .pth file has its own .pth files left unread."""
    venv.create(folder)
    (place,) = folder.glob("lib/python*/site-packages")
    (place / "libraries.pth").write_text(str(Path(pytest.__file__).parents[1]))
    return folder / "bin" / "python"


def check_content(wheel: Path) -> None:
    """The licence and the types are in it, and no test; the template of plugins has tests of its own."""
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names), wheel
    assert any(name.endswith("/py.typed") for name in names), wheel
    assert not [name for name in names if Path(name).name.startswith("test_") and "/plugin_template/" not in name]


@pytest.mark.thorough
def test_every_wheel_installs_outside_the_repository_and_edits_there(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    sources = [str(ROOT / name) for name in DISTRIBUTIONS]
    pip = (sys.executable, "-m", "pip", "--quiet")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), *sources, cwd=tmp_path)
    built = sorted(wheels.glob("*.whl"))
    assert len(built) == len(DISTRIBUTIONS)
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, built), cwd=tmp_path)
    for wheel in built:
        check_content(wheel)
    installed = [wheel for wheel in built if not wheel.name.startswith(tuple(name.replace("-", "_") for name in LARGE))]
    python = str(bare(tmp_path / "bare"))
    into = ("--python", python, "install", "--no-deps", "--no-index", "--ignore-installed")
    run(*pip, *into, *map(str, installed), cwd=tmp_path)
    unmet = run(python, "-c", UNMET, *NAMES, cwd=tmp_path)
    assert unmet == "", unmet
    editcore = str(tmp_path / "bare" / "bin" / "editcore")
    plugins = json.loads(run(editcore, "plugins", "list", "--json", cwd=tmp_path))
    assert {plugin["name"]: plugin["status"] for plugin in plugins} == dict.fromkeys(
        ("editcore", *(name.removeprefix("editcore-") for name in NAMES[2:])), "ok"
    )
    model = run(python, "-c", "import editcore_demo; print(editcore_demo.model_path())", cwd=tmp_path).strip()
    assert str(tmp_path) in model
    patch = tmp_path / "fact.safetensors"
    run(
        editcore, "edit", model, "--prompt", "{} works as a", "--subject", "Dovwen Quinhurst", "--target", "baker",
        "-o", str(patch), "--set", "mom2_tokens=2000", "--allow-failed", cwd=tmp_path,
    )  # fmt: skip
    assert patch.is_file()
    assert "ice-continual" in run(editcore, "bench", "specs", cwd=tmp_path)
    page = "from editcore_bench.report import page; print(*(p.name for p in page._HERE.glob('page.*')))"
    assert {"page.css", "page.js", "page.html.j2"} <= set(run(python, "-c", page, cwd=tmp_path).split())
    (tmp_path / "test_mine.py").write_text(SUITE)
    passed = run(python, "-m", "pytest", "-q", "test_mine.py", "-k", "families or left_as_it_was", cwd=tmp_path)
    assert "3 passed" in passed, passed
