"""What `--help`, `inspect`, `stack` and `repair` use imports no torch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.file.patch import Patch


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reading_judging_planning_and_repairing_need_no_torch(
    folder: Callable[..., Path], make_patch: Callable[..., Patch], tmp_path: Path
) -> None:
    root = folder("gpt2")
    key = "transformer.h.0.mlp.c_proj.weight"
    patch = make_patch(root, key)
    patch.save(tmp_path / "p.safetensors")
    apply_on_disk(root, [patch])
    out = run(
        "import sys\n"
        "import editcore.patches\n"
        "assert len(sys.modules) < 400 and 'numpy' not in sys.modules\n"
        "from editcore.patches.change.repairing import current_stack, repair\n"
        "from editcore.patches.checkpoint.folder import Checkpoint\n"
        "from editcore.patches.checkpoint.identity import base_identity\n"
        "from editcore.patches.checkpoint.resolving import judge\n"
        "from editcore.patches.file.patch import Patch\n"
        f"header, opened = Patch.read_header({str(tmp_path / 'p.safetensors')!r}), Checkpoint.open({str(root)!r})\n"
        "print(judge(header, opened, whole=True).kind, repair(opened.folder).action)\n"
        "print(base_identity(opened)['weights_root'] == header.about['base']['weights_root'])\n"
        "print(current_stack(opened.folder).patch_ids == (header.patch_id,))\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    assert out.split() == ["exact", "nothing", "True", "True"]
