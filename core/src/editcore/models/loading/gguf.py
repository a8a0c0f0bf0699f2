"""A GGUF file as a model folder: read by transformers' own reader, unpacked, and written as safetensors."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from editcore.models.loading.source import first_line
from editcore.storage import durable
from editcore.storage.staging import place_beside
from editcore_hooks import EditcoreError, RefusedFileError, UsageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_MAGIC: Final = b"GGUF"
_ROOM: Final = 64 * 2**20
"""Bytes beside the weights: tokenizer, configuration, and what a file system needs itself."""
_NEEDED: Final = ("gguf", "accelerate")


@frozen
class Imported:
    """The written model: its type, its numbers of parameters and bytes, and whether it has a template."""

    model_type: str
    parameters: int
    bytes: int
    chat: bool


def require_gguf(file: Path) -> None:
    """Check that `file` looks like a GGUF file and that it can be read here. Raises `UsageError`, `RefusedFileError`.

    Reads four bytes and imports nothing heavy.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", hint="name a .gguf file")
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise RefusedFileError(f"{file} is not a GGUF file", hint="download it again")
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise UsageError(f"reading a GGUF file needs {' and '.join(missing)}", hint='pip install "editcore[gguf]"')


def import_gguf(file: Path, folder: Path, dtype: str = "bfloat16", say: Callable[[str], None] = print) -> Imported:
    """Write the model of `file` into `folder`, which must be new or empty and appears when it is whole.

    Quantised weights are unpacked and stored as `dtype`. Tokenizer, chat template and generation settings come along.
    Raises `UsageError`, `RefusedFileError` for what transformers cannot read, and `EditcoreError` when the disk is
    full.
    """
    import torch

    require_gguf(file)
    say(f"reading the weights of {file} ({_size(file.stat().st_size)})")
    with _hushed():
        model = _read_model(file, getattr(torch, dtype))
    say("reading its tokenizer")
    with _hushed():
        tokenizer = _read_tokenizer(file)
    tensors = {tensor.data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}  # tied ones count once
    size = sum(tensors.values())
    _require_room(folder, size)
    say(f"writing {folder} ({_size(size)}, {dtype})")
    try:
        with _hushed(), place_beside(folder) as staged:
            model.save_pretrained(staged)
            tokenizer.save_pretrained(staged)
            _settle(staged)
            durable.replace(staged, folder)
    except OSError as error:
        hint = f"{durable.remedy(error)} and try again"
        raise EditcoreError(f"cannot write {folder}: {error.strerror or error}", hint=hint) from error
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Imported(model.config.model_type, parameters, size, bool(getattr(tokenizer, "chat_template", None)))


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without what transformers says, and without the bar that its reader draws."""
    from editcore.models.loading.quiet import quiet

    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        yield


def _read_model(file: Path, dtype: "torch.dtype") -> "PreTrainedModel":
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {}
    with contextlib.suppress(ImportError):  # releases before 5.2x have none, and always unpack
        from transformers import GgufConfig

        options["quantization_config"] = GgufConfig(dequantize=True)  # type: ignore[no-untyped-call]
    try:
        # in 32 bits, since some weights are changed while they are read and are to be rounded once
        pair: Any = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
        read, info = pair
    except Exception as error:  # a damaged file may fail anywhere in the readers
        hint = "convert the original checkpoint, or use its safetensors files"
        raise RefusedFileError(f"transformers cannot read {file}: {first_line(error)}", hint=hint) from error
    if missing := sorted(info["missing_keys"]):
        some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise RefusedFileError(f"{file} has no weights for {some}", hint="download it again")
    # transformers saves no model that it read from GGUF; one of the same configuration takes the tensors
    config = read.config
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        with contextlib.suppress(AttributeError):
            delattr(config, name)
    tensors = {name: tensor.to(dtype) for name, tensor in read.state_dict().items()}
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    model.load_state_dict(tensors, assign=True)
    model.tie_weights()  # type: ignore[no-untyped-call]
    model.generation_config = read.generation_config
    return model


def _read_tokenizer(file: Path) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)  # type: ignore[no-any-return]
    except Exception as error:
        message = f"transformers cannot read the tokenizer of {file}: {first_line(error)}"
        raise RefusedFileError(message, hint="use the safetensors files of the original checkpoint") from error


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < size + _ROOM:
        message = f"{folder} needs {_size(size + _ROOM)}, but only {_size(free)} are free on its disk"
        raise EditcoreError(message, hint="make room, or give another folder")


def _settle(folder: Path) -> None:
    """Have the files and their names last, readable for whom the umask lets."""
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.iterdir():
        path.chmod(0o666 & ~mask)  # the library that writes weights makes them private
        with path.open("rb") as file:
            os.fsync(file.fileno())
    durable.sync_folder(folder)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
