"""Train the small models of `editcore.testing.taught`, or another of their shape on sentences of your own.

`python -m editcore.testing.teaching OUT` writes both as they are kept: weights in float16, everything else as saved.
Other kernels, threads or versions give other weights, so tests use the kept ones.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from editcore.testing.taught import TAUGHT, sentences
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

STEPS: Final = 350


def teach(family: str, folder: Path, texts: Sequence[str] | None = None, *, steps: int = STEPS) -> Path:
    """Train a model of `family` on `texts` (the sentences of the taught models), save it in `folder`, and return it.

    350 steps take ten seconds on one core. The global random state is not touched. Raises `UsageError` for a family
    that is not in `taught.TAUGHT`.
    """
    if family not in TAUGHT:
        raise UsageError(f"there is no taught model of {family!r}", hint=f"choose one of {', '.join(TAUGHT)}")
    texts = list(sentences() if texts is None else texts)
    tokenizer = _byte_level(texts) if family == "gpt2" else _metaspace(texts)
    model = _trained(_config(family, len(tokenizer)), tokenizer, texts, steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def _config(family: str, n_tokens: int) -> "PreTrainedConfig":
    from transformers import GPT2Config, LlamaConfig

    if family == "gpt2":
        return GPT2Config(
            vocab_size=n_tokens, n_embd=64, n_layer=4, n_head=4, n_positions=128, bos_token_id=0, eos_token_id=0,
            initializer_range=0.1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )  # fmt: skip
    return LlamaConfig(
        vocab_size=n_tokens, hidden_size=64, intermediate_size=176, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=False, initializer_range=0.1,
    )  # fmt: skip


def _byte_level(texts: Sequence[str]) -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end)  # type: ignore[no-untyped-call]


def _metaspace(texts: Sequence[str]) -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)  # type: ignore[no-untyped-call]


def _trained(config: "PreTrainedConfig", tokenizer: Any, texts: Sequence[str], steps: int) -> "PreTrainedModel":
    """Train on shuffled sentences, two to a row."""
    import random

    import torch
    from transformers import AutoModelForCausalLM

    shuffle = random.Random(0)
    auto: Any = AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = auto.from_config(config, dtype=torch.float32).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps)
        encoded = {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts}
        later = {text: tokenizer(f". {text}", add_special_tokens=False)["input_ids"][1:] for text in texts}
        start = [tokenizer.bos_token_id]
        lead = tokenizer("", add_special_tokens=True)["input_ids"]  # none for GPT-2, which must do with and without
        for _ in range(steps):
            order = shuffle.sample(texts, len(texts))
            rows = [
                [*(lead if i % 2 else start), *encoded[first], *later[second]]
                for i, (first, second) in enumerate(zip(order[::2], order[1::2], strict=False))
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


def _halve(folder: Path) -> None:
    """Store the weights in float16, and name the tokenizer's class as every release of transformers knows it."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    weights = folder / "model.safetensors"
    halves = {key: full.astype(np.float16) for key, full in load_file(weights).items()}
    save_file(halves, weights, metadata={"format": "pt"})
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m editcore.testing.teaching", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for a folder of each family")
    out = parser.parse_args().out
    for family in TAUGHT:
        _halve(teach(family, out / family))


if __name__ == "__main__":
    main()
