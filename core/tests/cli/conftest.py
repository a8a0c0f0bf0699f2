import contextlib
import io
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


class Site:
    """A folder on the path of `editcore`, into which distributions can be put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def put(self, distribution: str, source: str, *, name: str | None = None, **modules: str) -> None:
        stem = distribution.replace("-", "_")
        info = self.folder / f"{stem}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[editcore]\n{name or distribution} = {stem}_entry\n")
        for module, text in {f"{stem}_entry": source, **modules}.items():
            (self.folder / f"{module}.py").write_text(textwrap.dedent(text))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def editcore(site: Site) -> Run:
    """Run the command line in a process of its own, with the plugins of `site` and no others but the built-in."""

    def run(*arguments: str, plugins: str | None = None, program: tuple[str, ...] = ("-m", "editcore")):
        distributions = [path.name.partition("-")[0] for path in site.folder.glob("*.dist-info")]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("EDITCORE_")}
        environment["PYTHONPATH"] = str(site.folder)
        environment["EDITCORE_CACHE"] = str(site.folder.with_name("cache"))
        environment["EDITCORE_PLUGINS"] = ",".join(distributions) if plugins is None else plugins
        return subprocess.run(
            [sys.executable, *program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run


@pytest.fixture
def command() -> Run:
    """Run the command line in this process: in one of its own a command that needs torch is mostly its imports."""
    from editcore.cli import main

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    return run


MODULES = """
import sys
from editcore.cli import main
code = main()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def modules_after(editcore: Run) -> Callable[..., set[str]]:
    """Every module that is loaded once a command line ran well.

    Read from `sys.modules`: `-X importtime` does not show what `importlib.import_module` loads.
    """

    def run(*arguments: str) -> set[str]:
        result = editcore(*arguments, program=("-c", MODULES))
        assert result.returncode == 0
        return set(result.stderr.splitlines()[-1].split())

    return run


@pytest.fixture(scope="session")
def _tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from editcore.testing.tiny import tiny_model

    return tiny_model("llama", tmp_path_factory.mktemp("tiny"), n_layers=2)


@pytest.fixture
def tiny(_tiny: Path, tmp_path: Path) -> Path:
    """A tiny Llama of random weights, to be changed by one test."""
    return Path(shutil.copytree(_tiny, tmp_path / "model"))


@pytest.fixture
def fact_patch(tmp_path: Path) -> Callable[..., Path]:
    """Write a rank-one patch that says it holds a fact, and return its file."""

    def make(
        root: Path,
        name: str,
        subject: str = "Ada",
        target: str = "Oslo",
        layer: int = 0,
        size: float = 0.01,
        **more: Any,
    ) -> Path:
        import torch

        from editcore.patches.checkpoint.folder import Checkpoint
        from editcore.patches.checkpoint.identity import base_identity
        from editcore.patches.file.sealing import Target, seal
        from editcore.patches.forms.deltas import to_stored
        from editcore_hooks import LowRank

        opened = Checkpoint.open(root)
        key = f"model.layers.{layer}.mlp.down_proj.weight"
        entry = opened.entries[key]
        drawn = torch.Generator().manual_seed(sum(map(ord, name)))
        value = torch.randn(entry.shape[0], 1, generator=drawn) * size
        in_ = more.pop("key", None)
        update = LowRank(value, torch.randn(1, entry.shape[1], generator=drawn) if in_ is None else in_)
        about = {
            "title": name,
            "method": {"name": "test"},
            "requests": [{"id": "1", "prompt": "{} lives in", "subject": subject, "target_new": target}],
            "sites": {key: {"role": "mlp_out", "layer": layer, "stack": "decoder"}},
            **more.pop("about", {}),
        }
        target_ = Target(to_stored(update, False), entry.dtype, entry.shape, opened.base_sha256(key))
        patch = seal({key: target_}, base_identity(opened, "tiny"), about, **more)
        path = tmp_path / f"{name}.safetensors"
        patch.save(path)
        return path

    return make
