"""The wheels, not the checkout: built, installed with the constraints into a bare environment, and used there."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLUGINS = (
    "editcore-keyvalue",
    "editcore-rome",
    "editcore-memit",
    "editcore-emmet",
    "editcore-pmet",
    "editcore-alphaedit",
    "editcore-ultraedit",
    "editcore-ft",
    "editcore-causal-trace",
    "editcore-guards",
    "editcore-kn",
    "editcore-demo",
    "editcore-bench",
)
LARGE = ("editcore-lm-eval",)  # built and not installed: its library brings some fifty packages
DISTRIBUTIONS = ("hooks", "core", *(f"plugins/{name}" for name in (*PLUGINS, *LARGE)))


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


def test_every_wheel_installs_outside_the_repository_and_edits_there(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    sources = [str(ROOT / name) for name in DISTRIBUTIONS]
    pip = (sys.executable, "-m", "pip", "--quiet")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), *sources, cwd=tmp_path)
    built = sorted(wheels.glob("*.whl"))
    assert len(built) == len(DISTRIBUTIONS)
    installed = [wheel for wheel in built if not wheel.name.startswith(tuple(name.replace("-", "_") for name in LARGE))]
    venv.create(tmp_path / "bare", with_pip=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    run(
        python, "-m", "pip", "--quiet", "install", "--constraint", str(ROOT / "constraints.txt"), *map(str, installed),
        cwd=tmp_path,
    )  # fmt: skip
    editcore = str(tmp_path / "bare" / "bin" / "editcore")
    plugins = json.loads(run(editcore, "plugins", "list", "--json", cwd=tmp_path))
    assert {plugin["name"]: plugin["status"] for plugin in plugins} == dict.fromkeys(
        ("editcore", *(name.removeprefix("editcore-") for name in PLUGINS)), "ok"
    )
    model = run(python, "-c", "import editcore_demo; print(editcore_demo.model_path())", cwd=tmp_path).strip()
    assert str(tmp_path) in model
    patch = tmp_path / "fact.safetensors"
    run(
        editcore, "edit", model, "--prompt", "{} works as a", "--subject", "Dovwen Quinhurst", "--target", "baker",
        "-o", str(patch), "--set", "mom2_tokens=2000", cwd=tmp_path,
    )  # fmt: skip
    assert patch.is_file()
    assert "ice-continual" in run(editcore, "bench", "specs", cwd=tmp_path)
    page = "from editcore_bench.report import page; print(*(p.name for p in page._HERE.glob('page.*')))"
    assert {"page.css", "page.js", "page.html.j2"} <= set(run(python, "-c", page, cwd=tmp_path).split())
    run(
        python, "-m", "pip", "--quiet", "install", "--constraint", str(ROOT / "constraints.txt"), "pytest", cwd=tmp_path
    )  # fmt: skip
    (tmp_path / "test_mine.py").write_text(SUITE)
    passed = run(python, "-m", "pytest", "-q", "test_mine.py", "-k", "families or left_as_it_was", cwd=tmp_path)
    assert "3 passed" in passed, passed
