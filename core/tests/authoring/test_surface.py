"""What a plugin may import of the host is named, listed and enough for our own plugins."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from editcore import authoring

ROOT = Path(__file__).parents[3]
MODULES = sorted(module.name for module in iter_modules(authoring.__path__))
TORCH = {"arithmetic", "memories", "models", "running", "training"}


def listed() -> dict[str, set[str]]:
    """Module → names, as the table of the guide has them."""
    section = (ROOT / "docs/plugins.md").read_text("utf-8").partition("## What you may import")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `editcore\.authoring\.(\w+)` \| (.*) \|$", section, re.MULTILINE)
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_the_guide_lists_every_public_name() -> None:
    assert listed() == {name: set(import_module(f"editcore.authoring.{name}").__all__) for name in MODULES}


def test_our_own_plugins_import_nothing_else_of_the_host() -> None:
    public = {"editcore", *(f"editcore.authoring.{name}" for name in MODULES)}
    stray = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "plugins").glob("*/src/**/*.py")
        for name in imports(path)
        if name.partition(".")[0] == "editcore" and name not in public and not name.startswith("editcore.testing")
    }
    assert stray == set()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_torch_only_where_the_guide_says_so(name: str) -> None:
    code = f"import sys, editcore.authoring.{name}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(name in TORCH)
