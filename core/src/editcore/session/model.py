"""An open model: its parts, the questions they answer, and the talk for messages about it."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from attrs import define

from editcore.assets.store import AssetStore
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.loading.loader import Loaded
from editcore.models.loading.offload import device_of
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.plugins.registry import Registry
from editcore.session.limits import Guarded
from editcore.session.talk import Progress, Silence, Talk, Warns
from editcore.text.neutral import OURS, NeutralText
from editcore_hooks import UsageError


@define(eq=False)
class OpenModel:
    """A loaded model beside the folder it came from, and what surrounds it. Nothing here is global."""

    loaded: Loaded
    anatomy: Anatomy
    checkpoint: Checkpoint
    registry: Registry
    assets: AssetStore
    talk: Talk
    seed: int = 0
    beside: bool = False
    """Whether low-rank patches in memory run beside weights that could be written as well."""
    neutral: NeutralText = OURS
    """Texts for measuring damage."""
    until: float = math.inf
    """The moment, of `time.monotonic`, by which what can be cut short is done; set by `within`."""
    stop_at: float = math.inf
    """The moment after which work that shows its progress raises `TimeUp`; set by `at_most`."""
    recalled: dict[Any, Any] | None = None
    """Shared values of the trials of one search; None outside of `recalling`."""

    @property
    def model(self) -> Any:
        return self.loaded.model

    @property
    def tokenizer(self) -> Any:
        return self.loaded.tokenizer

    @property
    def device(self) -> torch.device:
        return device_of(self.model)

    @property
    def weights_root(self) -> str:
        """The hash of the base's weights, whatever is applied on top."""
        return self.checkpoint.weights_root()

    @property
    def tokenizer_sha256(self) -> str | None:
        return self.checkpoint.tokenizer_sha256

    @property
    def start_token(self) -> int:
        """The id that begins a text: BOS, else end-of-text. Raises `UsageError` when the tokenizer has neither."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        raise UsageError(
            "the tokenizer has no token that begins a text, to sample from",
            hint="give texts: --set context_templates=@FILE and --set mom2_corpus=FILE",
        )

    @property
    def encoder_decoder(self) -> bool:
        """Whether the prompt goes to an encoder, and a decoder answers it with a text of its own."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def max_length(self) -> int:
        """The longest row the model takes, in tokens."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 2048))

    def traits(self) -> Mapping[str, Any]:
        """Traits by which presets are chosen."""
        return {
            "name": self.loaded.name,
            "model_type": self.model.config.model_type,
            "n_layers": self.anatomy.n_layers,
            "hidden_size": self.anatomy.hidden_size,
            "mlp_width": self.anatomy.mlp_width,
            "encoder_decoder": self.encoder_decoder,
            "weights_root": self.weights_root,
        }

    @property
    def seconds_left(self) -> float:
        """Seconds left of the time given by `within`; infinite outside of it."""
        return self.until - time.monotonic()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """So many seconds for the body, or what is left of an outer `within`: statistics and searches stop by then."""
        before = self.until
        self.until = min(before, time.monotonic() + seconds)
        try:
            yield
        finally:
            self.until = before

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Raise `TimeUp` from any work in the body that advances its progress after so many seconds."""
        before = self.stop_at
        self.stop_at = min(before, time.monotonic() + seconds)
        try:
            yield
        finally:
            self.stop_at = before

    @contextmanager
    def recalling(self) -> Iterator[None]:
        """Keep in `recalled` what several computations of the body share, such as the values of trials."""
        before, self.recalled = self.recalled, {}
        try:
            yield
        finally:
            self.recalled = before

    def say(self, text: str) -> None:
        self.talk.say(text)

    def warn(self, text: str) -> None:
        """Say what nobody should miss: on the command line it is shown under `-q` too."""
        if isinstance(self.talk, Warns):
            self.talk.warn(text)
        else:
            self.talk.say(f"warning: {text}")

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Silence the talk in the body."""
        talk, self.talk = self.talk, Silence()
        try:
            yield
        finally:
            self.talk = talk

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Progress]:
        """Progress of `total` steps under a label. `advance` raises `TimeUp` after the time of `at_most`."""
        with self.talk.progress(label, total) as progress:
            yield progress if self.stop_at == math.inf else Guarded(progress, self.stop_at)
