"""The plugin template, proved from the outside: rendered, built, installed by name into a bare environment, its own
tests run there, the demo model edited with it, and updated by `copier update`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
NEEDED: Final = ("hooks", "core", "plugins/editcore-demo", "plugins/editcore-keyvalue")
LIMIT: Final = 120
"""Seconds that the tests of a rendered method may take on an idle machine."""
RENDERED: Final = {
    "nudge": ("method",),
    "all-kinds": ("method", "locator", "transform", "metric", "patch-kind", "dataset", "architecture"),
}


def run() -> list[str]:
    lines = ["| rendered | files | wheel | its tests | seconds | processor seconds |", "|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as place:
        lines += _all(Path(place).resolve())
    return lines


def _all(place: Path) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"EDITCORE_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    index, bare = place / "index", _bare(place / "bare")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    _call([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place / "ours"),
           *(str(ROOT / name) for name in NEEDED)], place, environment)  # fmt: skip
    ours = [str(path) for path in (place / "ours").glob("*.whl")]
    into = [*pip, "--python", str(bare / "python"), "install", "--no-deps", "--ignore-installed"]
    _call([*into, "--no-index", *ours], place, environment)
    rows = []
    for name, kinds in RENDERED.items():
        folder, editcore = place / name, str(bare / "editcore")
        options = [word for kind in kinds for word in ("--kind", kind)]
        _call([editcore, "new-plugin", name, "--to", str(folder), *options], place, environment)
        _commit(folder, "From the template", environment)
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(index / f"editcore-{name}")]
        _call([*build, str(folder)], place, environment)
        _listed(index)
        _call([*into, "--index-url", index.as_uri(), f"editcore-{name}"], place, environment)
        listed = json.loads(_call([editcore, "plugins", "list", "--json"], place, environment))
        assert {row["name"]: row["status"] for row in listed}[name] == "ok"
        started, spent = time.monotonic(), os.times()
        said = _call([str(bare / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"], folder, environment)
        seconds, after = time.monotonic() - started, os.times()
        processor = after.children_user + after.children_system - spent.children_user - spent.children_system
        assert processor < LIMIT or name != "nudge", f"the tests of {name} took {processor:.0f} s"
        wheel = next((index / f"editcore-{name}").glob("*.whl"))
        files = len([path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts])
        passed = said.strip().splitlines()[-1].partition(" in ")[0]
        rows.append(
            f"| {', '.join(kinds)} | {files} | {wheel.stat().st_size / 1024:.0f} KiB | {passed} | {seconds:.0f} "
            f"| {processor:.0f} |"
        )
    return [*rows, "", _edited(place, bare, environment), "", _updated(place / "nudge", bare, environment)]


def _edited(place: Path, bare: Path, environment: dict[str, str]) -> str:
    model = _call([str(bare / "python"), "-c", "import editcore_demo; print(editcore_demo.model_path())"], place,
                  environment).strip()  # fmt: skip
    said = _call(
        [str(bare / "editcore"), "edit", model, "--method", "nudge", "--prompt", "{} works as a", "--subject",
         "Dovwen Quinhurst", "--target", "baker", "-o", str(place / "fact.safetensors"), "--allow-failed"],
        place, environment,
    )  # fmt: skip
    assert (place / "fact.safetensors").is_file()
    return f"The demo model edited with it: `{said.strip().splitlines()[0].rpartition('/')[2]}`."


def _updated(folder: Path, bare: Path, environment: dict[str, str]) -> str:
    """A later template, with a line more in a file that the author changed too: both changes are kept."""
    (shipped,) = bare.parent.glob("lib/python*/site-packages/editcore/plugin_template")
    readme = folder / "README.md"
    readme.write_text(readme.read_text("utf-8") + "\nA line of the author.\n", "utf-8")
    _commit(folder, "Own", environment)
    changed = shipped / "template" / ".gitignore"
    changed.write_text(changed.read_text("utf-8") + "build/\n", "utf-8")
    _call([str(bare / "editcore"), "new-plugin", "later", "--to", str(folder.parent / "later")], folder, environment)
    _call([sys.executable, "-m", "copier", "update", "--defaults", str(folder)], folder, environment)
    assert "build/" in (folder / ".gitignore").read_text("utf-8")
    assert "A line of the author." in readme.read_text("utf-8")
    _commit(folder, "Updated", environment)
    said = _call([str(bare / "editcore"), "update-plugin", str(folder), "--json"], folder, environment)
    assert json.loads(said)["changed"] == []
    return "`copier update` brought the change of a later template and kept that of the author."


def _bare(folder: Path) -> Path:
    """The programs of an environment that has the libraries of this one, and nothing of the checkout."""
    venv.create(folder)
    (place,) = folder.glob("lib/python*/site-packages")
    (place / "libraries.pth").write_text(str(Path(pytest.__file__).parents[1]))
    return folder / "bin"


def _listed(index: Path) -> None:
    """Pages of links, as an index has them."""
    for project in (path for path in index.iterdir() if path.is_dir()):
        links = "".join(f'<a href="{path.name}">{path.name}</a>\n' for path in project.glob("editcore_*"))
        (project / "index.html").write_text(f"<!DOCTYPE html><html><body>\n{links}</body></html>\n")


def _commit(folder: Path, message: str, environment: dict[str, str]) -> None:
    git = shutil.which("git") or "git"
    _call([git, "add", "--all"], folder, environment)
    identity = ["-c", "user.name=author", "-c", "user.email=author@localhost"]
    _call([git, *identity, "commit", "--quiet", "--message", message], folder, environment)


def _call(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout
