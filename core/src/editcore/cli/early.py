"""Find the faults of a command before torch is imported: the model's folder, its layers, the settings."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from editcore.models.loading.source import find_local
from editcore.models.loading.weight_files import DTYPES, read_config, weight_files
from editcore.text.shell import quoted
from editcore_hooks import Case, EditcoreError, UsageError

if TYPE_CHECKING:
    from editcore.evaluation.reports.requirements import Requirement

_COUNTS: Final = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_decoder_layers")
"""Names of the number of blocks of a stack in configurations; an encoder-decoder has two numbers."""


def check_model(source: str, revision: str | None = None, dtype: str | None = None) -> int | None:
    """Check that MODEL is one, by its files; return how many layers its longest stack has, where they say it.

    A hub id is looked for in the cache and not fetched. Raises `UsageError`, `RefusedFileError`.
    """
    if dtype is not None and dtype not in DTYPES.values():
        raise UsageError(f"--dtype {dtype} is unknown", hint=f"choose one of {', '.join(DTYPES.values())}")
    found = find_local(source, revision=revision)
    if found is not None:
        config = read_config(found.folder)
        weight_files(found.folder)
        return layers_of(config)
    cached = _cached_config(source, revision)
    try:
        return None if cached is None else layers_of(read_config(cached))
    except EditcoreError:  # it is fetched again where it is odd
        return None


def layers_of(config: Mapping[str, Any]) -> int | None:
    """The number of blocks that a `config.json` states, also inside `text_config`; None where it states none."""
    nested = config.get("text_config")
    for part in (nested if isinstance(nested, dict) else {}, config):
        counts: list[int] = [part[name] for name in _COUNTS if type(part.get(name)) is int]
        if counts:
            return max(counts)
    return None


def require_layers(hparams: Any, n_layers: int | None, model: str, owner: str) -> None:
    """Raise `UsageError` where `layer` or `layers` of the hyper-parameters name a block that is not there."""
    if n_layers is None:
        return
    values = attrs.asdict(hparams, recurse=False)
    asked = [values.get("layer"), *(values["layers"] if isinstance(values.get("layers"), (list, tuple)) else ())]
    for layer in asked:
        if type(layer) is int and not 0 <= layer < n_layers:
            name = "layer" if layer == values.get("layer") else "layers"
            raise UsageError(
                f"{owner}: {model} has no layer {layer}",
                hint=f"choose a layer from 0 to {n_layers - 1}, such as --set {name}={n_layers // 2}",
            )


def require_needs(requirements: Sequence["Requirement"], cases: Sequence[Case]) -> None:
    """Raise `UsageError` where no case has what the metric of a requirement needs."""
    from editcore.plugins.registry import registry

    for requirement in requirements:
        for need in registry().metric(requirement.metric).needs:
            if not any(map(need.met, cases)):
                raise UsageError(
                    f"--require {requirement.metric} needs {need.words}, and no request has it",
                    hint="give it, or leave out the requirement; `editcore plugins offers` says what each metric needs",
                )


def require_chat_template(source: str, revision: str | None, cases: Sequence[Case]) -> None:
    """Raise `UsageError` where a case asks for the chat template of a folder whose tokenizer has none."""
    if any(case.request.template is not None and case.request.template.chat for case in cases):
        require_chat(source, revision)


def require_chat(source: str, revision: str | None) -> None:
    """Raise `UsageError` for a folder whose tokenizer has no chat template, where its files say so."""
    found = find_local(source, revision=revision)
    settings = None if found is None else found.folder / "tokenizer_config.json"
    if settings is None or not settings.is_file():
        return
    if any(settings.parent.glob("*chat_template*")):
        return
    try:
        # plain: its `model_max_length` is often larger than what the strict reader takes
        known = json.loads(settings.read_text("utf-8"))
    except (OSError, ValueError):  # opening the tokenizer says so
        return
    if isinstance(known, dict) and not known.get("chat_template"):
        raise UsageError(f"{source} has no chat template", hint="leave out --chat, --system and `template`")


def require_profile(method: str, name: str | None) -> None:
    """Raise `UsageError` where no model has a profile of that name; whether this one has needs its weights."""
    if name is None:
        return
    from editcore.assets.store import AssetStore
    from editcore.tuning.profiles import KIND

    profiles = [asset for asset in AssetStore().list() if asset.kind == KIND]
    known = sorted({str(p.parameters.get("name")) for p in profiles if p.parameters.get("method") == method})
    if name not in known:
        there = f"; there are {', '.join(known)}" if known else ""
        raise UsageError(
            f"no model has a profile {name!r} of {method}{there}",
            hint=f"editcore tune MODEL --method {method} --name {quoted(name)}",
        )


def _cached_config(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(repository, "config.json", revision=revision)
    except ValueError:  # no name of a repository; opening it says so
        return None
    return Path(path).parent if isinstance(path, str) else None
