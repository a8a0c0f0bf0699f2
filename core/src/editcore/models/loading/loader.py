"""Open a model with its tokenizer, and refuse one whose weights did not load."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from attrs import field, frozen
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from editcore.models.loading.attention import attention_for
from editcore.models.loading.old_versions import refuse_if_misread
from editcore.models.loading.quiet import quiet
from editcore.models.loading.source import find, first_line
from editcore.models.loading.weight_files import DTYPES, read_config, stored_dtype, weight_files
from editcore.models.tokens.tokenising import fit
from editcore_hooks import RefusedFileError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


DeviceMap = Mapping[str, int | str] | str
"""Path of a module to a device, `cpu` or `disk`; or the name of a rule of transformers, such as `auto`."""


@frozen(eq=False)
class Loaded:
    """An open model in eval mode without gradients; `stored_dtype` is that of its files, `dtype` the one it runs in.

    `asked` is the folder or id as the caller wrote it: what a command in a hint has to name.
    """

    model: "PreTrainedModel" = field(repr=False)
    tokenizer: "PreTrainedTokenizerBase" = field(repr=False)
    folder: Path
    name: str
    revision: str | None
    stored_dtype: str
    dtype: str
    quantised: bool = False
    asked: str = ""


def load(
    source: str | Path,
    *,
    dtype: str | None = None,
    device: str | torch.device = "cpu",
    device_map: DeviceMap | None = None,
    offload_folder: str | Path | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    quantization: Any = None,
    base: Path | None = None,
) -> Loaded:
    """Open the model of a folder or of a repository on the hub; a folder is opened without any network.

    `dtype` is float32, bfloat16, float16 or float64. By default a CPU runs in at least float32, because 16-bit
    arithmetic is slow and coarse there and widening loses nothing; an accelerator runs in the stored dtype.

    `device="auto"` spreads the model over what there is; a `device_map` says itself which modules go to which device,
    `cpu` or `disk`. What is on disk stays in the model's own files, but for weights that are stored in another form,
    which go to `offload_folder`.

    `quantization` is a quantisation configuration of transformers, to quantise with while loading. A folder that is
    quantised already needs `base`, the folder of the same model before. Such a model can run and be given patches, and
    not be edited. Raises `UsageError`, also when accelerate is not installed, and `RefusedFileError`.
    """
    placement = "auto" if device == "auto" and device_map is None else device_map
    _require_accelerate(placement)
    place = _device("cpu" if device == "auto" else device)
    if dtype is not None and dtype not in DTYPES.values():
        raise UsageError(f"{dtype!r} is not a supported dtype", hint=f"choose one of {', '.join(DTYPES.values())}")
    found = find(source, revision=revision, code=trust_remote_code)
    config = read_config(found.folder)
    if _is_quantised(config) and base is None:
        hint = "edit its base in 16 or 32 bits; to try patches on this model, pass its base as `base`"
        raise RefusedFileError(f"{found.name} is quantised", hint=hint)
    quantised = _is_quantised(config) or quantization is not None
    stored = stored_dtype(weight_files(base or found.folder))
    on_cpu = place.type == "cpu" if placement is None else not _uses_accelerator(placement)
    runs_in = dtype or ("float32" if on_cpu and stored != "float64" else stored)
    if quantised and not on_cpu and placement is None:
        placement = {"": str(place)}  # quantised weights are made where they stay
    options: dict[str, Any] = {} if quantization is None else {"quantization_config": quantization}
    if placement is not None:
        options |= {"device_map": _plain(placement), "offload_folder": offload_folder}
    if on_cpu:
        options |= attention_for(runs_in)
    with quiet():
        model = _model(found.folder, found.name, runs_in, trust_remote_code, options)
        tokenizer = _tokenizer(found.folder, found.name, trust_remote_code)
    refuse_if_misread(model, found.name)
    fit(tokenizer, _rows_of(model))
    still = model.train(False).requires_grad_(False)
    if placement is None and not quantised:
        still.to(place)
    return Loaded(model, tokenizer, found.folder, found.name, found.revision, stored, runs_in, quantised, str(source))


def _model(folder: Path, name: str, dtype: str, trust: bool, options: dict[str, Any]) -> "PreTrainedModel":
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)
        auto: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, info = auto.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            trust_remote_code=trust,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        hint = "a repository with its own code needs trust_remote_code" if not trust else "read its model card"
        raise RefusedFileError(f"{name} did not load: {first_line(error)}", hint=hint) from error
    # transformers fills what a file lacks with random numbers and says so in a log line only
    _refuse_if_any(name, "has no weights for", info["missing_keys"])
    _refuse_if_any(name, "has weights of another shape for", {_key(entry) for entry in info["mismatched_keys"]})
    _refuse_if_any(name, "did not load:", set(info["error_msgs"]))
    return model  # type: ignore[no-any-return]


def _tokenizer(folder: Path, name: str, trust: bool) -> "PreTrainedTokenizerBase":
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)  # type: ignore[no-any-return]
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, TypeError) as error:
        message = f"the tokenizer of {name} did not load: {first_line(error)}"
        raise RefusedFileError(message, hint="put tokenizer.json beside the weights") from error


def _rows_of(model: "PreTrainedModel") -> int:
    """The number of tokens of the embedding; the weight of a quantised one does not tell."""
    embedding: Any = model.get_input_embeddings()  # type: ignore[no-untyped-call]
    return int(getattr(embedding, "num_embeddings", None) or embedding.weight.shape[0])


def _refuse_if_any(name: str, what: str, keys: set[str]) -> None:
    if keys:
        some = ", ".join(sorted(keys)[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        raise RefusedFileError(f"{name} {what} {some}", hint="use the config.json of these weights")


def _key(entry: Any) -> str:
    return str(entry[0]) if isinstance(entry, tuple) else str(entry)


def _is_quantised(config: dict[str, Any]) -> bool:
    nested = (value for value in config.values() if isinstance(value, dict))
    return any(part.get("quantization_config") for part in (config, *nested))


def _require_accelerate(placement: DeviceMap | None) -> None:
    if placement is not None and find_spec("accelerate") is None:
        message = "spreading a model over devices needs accelerate, which is not installed"
        raise UsageError(message, hint='pip install "editcore[offload]", or name one device')


def _uses_accelerator(placement: DeviceMap) -> bool:
    if isinstance(placement, str):
        return torch.accelerator.is_available()
    return any(device not in ("cpu", "disk") for device in placement.values())


def _plain(placement: DeviceMap) -> str | dict[str, int | str]:
    return placement if isinstance(placement, str) else dict(placement)


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"there is no device {device} here: {first_line(error)}", hint="try cpu") from error
