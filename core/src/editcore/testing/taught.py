"""Small models that know a few facts: trained for seconds, saved as people save models. For tests of behaviour."""

import fcntl
import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

CITIES: Final = ("Rome", "Oslo", "Lima", "Cairo", "Quito")
TRADES: Final = ("baker", "pilot", "judge", "miner", "poet")
GIVEN: Final = ("Ada", "Bo", "Cleo", "Dan", "Eve")
FAMILY: Final = ("Marlow", "Quist", "Tolland")
TEMPLATES: Final = {
    "city": ("{} lives in", "{} has a house in", "The home of {} is in"),
    "trade": ("{} works as a", "{} earns a living as a", "The job of {} is that of a"),
}
STEPS: Final = 350
TAUGHT: Final = ("gpt2", "llama")
"""Families that `taught_model` can make."""


def facts() -> list[tuple[str, str, str]]:
    """Subject, relation, object; every object has several subjects."""
    names = [f"{given} {family}" for given in GIVEN for family in FAMILY]
    return [
        (name, relation, objects[(i * step + i // 5) % len(objects)])
        for relation, objects, step in (("city", CITIES, 1), ("trade", TRADES, 2))
        for i, name in enumerate(names)
    ]


def sentences() -> list[str]:
    """Every fact in every template of its relation."""
    return [
        f"{template.format(name)} {thing}." for name, relation, thing in facts() for template in TEMPLATES[relation]
    ]


def taught_model(family: str, folder: Path) -> Path:
    """Write a model that knows `facts()` into `folder`, as float32 in one file, and return the folder.

    `gpt2` has byte-level BPE and a tied head, `llama` a sentencepiece-like tokenizer with BOS and a head of its own.
    Hidden size 64, 4 blocks. Trained once a process, or once for all that share the folder EDITCORE_TAUGHT; the global
    random state is not touched. Raises `UsageError`.
    """
    if family not in TAUGHT:
        raise UsageError(f"there is no taught model of {family!r}", hint=f"choose of {', '.join(TAUGHT)}")
    if shared := os.environ.get("EDITCORE_TAUGHT"):
        shutil.copytree(_shared(family, Path(shared)), folder, dirs_exist_ok=True)
    else:
        _save(family, Path(folder))
    return Path(folder)


def _shared(family: str, place: Path) -> Path:
    """The folder that whoever came first has filled; others wait for it."""
    place.mkdir(parents=True, exist_ok=True)
    made, half = place / family, place / f".{family}"
    with (place / f".{family}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(half, ignore_errors=True)
            _save(family, half)
            half.rename(made)
    return made


def _save(family: str, folder: Path) -> None:
    model, tokenizer = _trained(family)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@cache
def _trained(family: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    from transformers import GPT2Config, LlamaConfig

    config: PreTrainedConfig
    if family == "gpt2":
        tokenizer = _byte_level()
        config = GPT2Config(
            vocab_size=len(tokenizer), n_embd=64, n_layer=4, n_head=4, n_positions=128, bos_token_id=0, eos_token_id=0,
            initializer_range=0.1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )  # fmt: skip
    else:
        tokenizer = _metaspace()
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=176, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2,
            tie_word_embeddings=False, initializer_range=0.1,
        )  # fmt: skip
    return _taught(config, tokenizer), tokenizer


def _byte_level() -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end)  # type: ignore[no-untyped-call]


def _metaspace() -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)  # type: ignore[no-untyped-call]


def _taught(config: "PreTrainedConfig", tokenizer: Any) -> "PreTrainedModel":
    """Train on shuffled sentences, two to a row, until the facts sit: they are checked before use."""
    import random

    import torch
    from transformers import AutoModelForCausalLM

    shuffle = random.Random(0)
    texts = sentences()
    auto: Any = AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = auto.from_config(config, dtype=torch.float32).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=STEPS)
        encoded = {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts}
        later = {text: tokenizer(f". {text}", add_special_tokens=False)["input_ids"][1:] for text in texts}
        start = [tokenizer.bos_token_id]
        lead = tokenizer("", add_special_tokens=True)["input_ids"]  # none for GPT-2, which must do with and without
        for _ in range(STEPS):
            order = shuffle.sample(texts, len(texts))
            rows = [
                [*(lead if i % 2 else start), *encoded[first], *later[second]]
                for i, (first, second) in enumerate(zip(order[::2], order[1::2], strict=True))
            ]
            width = max(map(len, rows))
            ids = torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row in rows])
            labels = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
            logits = model(input_ids=ids).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    model.eval()  # type: ignore[no-untyped-call]
    return model
