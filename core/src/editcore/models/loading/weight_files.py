"""The safetensors files of a model's folder: which they are, and in what dtype they hold its weights. Torch-free."""

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open

from editcore.models.loading.source import convert_hint
from editcore.storage.canonical import read_object
from editcore_hooks import RefusedFileError, UsageError

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
DTYPES: Final = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}

_AGAIN: Final = "fetch the model again"
_CONVERT = (
    "convert it: python -c \"from transformers import AutoModelForCausalLM as M; M.from_pretrained('{folder}')"
    ".save_pretrained('{folder}-safetensors')\""
)


def read_config(folder: Path) -> dict[str, Any]:
    """The model's `config.json`. Raises `UsageError` when absent and `RefusedFileError` when it is not an object."""
    path = folder / "config.json"
    if not path.is_file():
        found = sorted(folder.glob("*.gguf"))
        hint = convert_hint(found[0]) if found else "name a model's folder"
        raise UsageError(f"{folder.name} holds no config.json, so it is not a model", hint=hint)
    return read_object(path, path.name, _AGAIN)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that hold the weights: the single one, else those of the index.

    Raises `RefusedFileError` when a shard is absent, an index names a file outside the folder, or the weights are
    in another format.
    """
    if (folder / SINGLE).is_file():  # transformers reads it even where there is an index
        return (folder / SINGLE,)
    if (folder / INDEX).is_file():
        weight_map = read_object(folder / INDEX, INDEX, _AGAIN).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise RefusedFileError(f"{INDEX} of {folder.name} has no weight_map", hint=_AGAIN)
        names = sorted(set(weight_map.values()), key=str)
        for name in names:
            if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
                raise RefusedFileError(f"{INDEX} names {name!r}, which is not a file name", hint="do not trust it")
            if not (folder / name).is_file():
                raise RefusedFileError(f"{folder.name} lacks the shard {name}", hint=_AGAIN)
        return tuple(folder / name for name in names)
    if any(folder.glob("*.bin")):
        raise RefusedFileError(
            f"{folder.name} holds its weights as .bin, which runs code when read", hint=_CONVERT.format(folder=folder)
        )
    if found := sorted(folder.glob("*.gguf")):
        raise RefusedFileError(f"{folder.name} holds its weights as {found[0].name}", hint=convert_hint(found[0]))
    raise RefusedFileError(f"{folder.name} holds no {SINGLE}", hint="fetch the model with its safetensors files")


def stored_dtype(files: tuple[Path, ...]) -> str:
    """The dtype that most of the weights are stored in, as torch names it, from the headers alone.

    Raises `RefusedFileError` on a file that is not safetensors, and on weights that are not floating point.
    """
    elements: Counter[str] = Counter()
    for file in files:
        try:
            with safe_open(file, framework="numpy") as handle:
                for key in handle.keys():  # noqa: SIM118 - a safe_open handle is not iterable
                    tensor = handle.get_slice(key)
                    elements[tensor.get_dtype()] += prod(tensor.get_shape())
        except (SafetensorError, OSError) as error:
            raise RefusedFileError(f"{file.name} is not a safetensors file: {error}", hint="fetch it again") from error
    if not elements:
        raise RefusedFileError(f"{files[0].name} holds no tensors", hint=_AGAIN)
    most = elements.most_common(1)[0][0]
    if most not in DTYPES:
        raise RefusedFileError(f"the weights are stored as {most}: quantised", hint="edit the base in 16 or 32 bits")
    return DTYPES[most]
