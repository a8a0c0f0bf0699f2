import subprocess
import sys


def test_the_contract_imports_neither_torch_nor_the_host() -> None:
    code = "import sys, editcore_hooks, editcore_hooks.specs; print([*{'torch', 'editcore', 'numpy'} & {*sys.modules}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
