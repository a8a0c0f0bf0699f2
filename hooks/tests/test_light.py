import subprocess
import sys


def test_the_contract_imports_neither_torch_nor_the_host() -> None:
    code = "import sys, editcore_hooks, editcore_hooks.specs; print([*{'torch', 'editcore', 'numpy'} & {*sys.modules}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_of_the_contract_shows_every_class() -> None:
    done = subprocess.run([sys.executable, "-m", "pydoc", "editcore_hooks"], capture_output=True, text=True, check=True)
    for name in ("Session", "EditMethod", "PatchKind", "Metric", "LowRank"):
        assert f"    class {name}(" in done.stdout
