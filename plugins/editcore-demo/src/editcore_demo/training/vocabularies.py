"""The three tokenizers: a byte-level BPE as GPT-2 has, and a metaspace BPE with byte fallback, with a BOS as Llama has.

The third has the pieces of the second. As with T5, padding is token 0, `</s>` ends every text, and nothing begins it.
"""

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 2048
_BYTES = [f"<0x{i:02X}>" for i in range(256)]


def byte_level(texts: Iterable[str], size: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Reversible on any text; `<|endoftext|>` begins, ends and pads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[end],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_and_without_blank(texts), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end, unk_token=end, model_max_length=256
    )


def metaspace(texts: Iterable[str], size: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Blanks are `▁`, unknown characters fall back to bytes, and every encoding begins with `<s>`."""
    tokenizer = _metaspace(texts, size, ["<unk>", "<s>", "</s>", "<pad>"], "first")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        model_max_length=256,
    )  # fmt: skip


def metaspace_ended(texts: Iterable[str], size: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Blanks are `▁`, unknown characters fall back to bytes, and every encoding ends with `</s>`."""
    tokenizer = _metaspace(texts, size, ["<pad>", "</s>", "<unk>"], "always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=256
    )


def _metaspace(texts: Iterable[str], size: int, special: list[str], prepend: str) -> Tokenizer:
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), _punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=size - len(_BYTES), special_tokens=special, show_progress=False)
    trained.train_from_iterator(texts, trainer)

    # The trainer cannot be told of byte tokens that never occur, so they are put after the special tokens at the end.
    learnt = json.loads(trained.to_str())["model"]
    words = sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)
    order = special + _BYTES + words[len(special) :]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={word: i for i, word in enumerate(order)},
            merges=[tuple(pair) for pair in learnt["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.add_special_tokens(special)
    blanks = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([blanks, _punctuation()])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def _punctuation() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(r"[.,:;'\n]"), "isolated")


def _with_and_without_blank(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        yield text
        yield " " + text
