"""Fixtures that cross packages: two small models, trained for seconds on a few facts, saved as people save models."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

CITIES = ("Rome", "Oslo", "Lima", "Cairo", "Quito")
TRADES = ("baker", "pilot", "judge", "miner", "poet")
GIVEN = ("Ada", "Bo", "Cleo", "Dan", "Eve")
FAMILY = ("Marlow", "Quist", "Tolland")
TEMPLATES = {
    "city": ("{} lives in", "{} has a house in", "The home of {} is in"),
    "trade": ("{} works as a", "{} earns a living as a", "The job of {} is that of a"),
}


def facts() -> list[tuple[str, str, str]]:
    """Subject, relation, object; every object has several subjects."""
    names = [f"{given} {family}" for given in GIVEN for family in FAMILY]
    return [
        (name, relation, objects[(i * step + i // 5) % len(objects)])
        for relation, objects, step in (("city", CITIES, 1), ("trade", TRADES, 2))
        for i, name in enumerate(names)
    ]


def sentences() -> list[str]:
    return [
        f"{template.format(name)} {thing}." for name, relation, thing in facts() for template in TEMPLATES[relation]
    ]


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No network, no cache of the user's, one thread a worker."""
    kept = dict(os.environ)
    os.environ["EDITCORE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    torch.set_num_threads(1)
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2-shaped, float32, one file, byte-level BPE, tied head."""
    from transformers import GPT2Config

    tokenizer = _byte_level()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=64, n_layer=4, n_head=4, n_positions=128, bos_token_id=0, eos_token_id=0,
        initializer_range=0.1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return _save(_taught(config, tokenizer), tokenizer, tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama-shaped, float32, one file, sentencepiece-like with BOS, untied head."""
    return _llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def sharded_folder(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as bfloat16 in several shards."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("sharded")
    model = AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="150KB")
    AutoTokenizer.from_pretrained(llama_folder).save_pretrained(folder)
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


def _llama(folder: Path) -> Path:
    from transformers import LlamaConfig

    tokenizer = _metaspace()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=176, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
        initializer_range=0.1,
    )  # fmt: skip
    return _save(_taught(config, tokenizer), tokenizer, folder)


def _byte_level():  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )


def _metaspace():  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _taught(config, tokenizer):  # type: ignore[no-untyped-def]
    """Train on shuffled sentences, several to a row, until the facts sit: they are checked before use."""
    import random

    import torch
    from transformers import AutoModelForCausalLM

    shuffle = random.Random(0)
    texts = sentences()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
        steps = 350
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
                for i, (first, second) in enumerate(zip(order[::2], order[1::2], strict=True))
            ]
            width = max(map(len, rows))
            ids = torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row in rows])
            labels = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
            logits = model(input_ids=ids).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def _save(model, tokenizer, folder: Path) -> Path:  # type: ignore[no-untyped-def]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
