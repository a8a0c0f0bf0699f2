"""Small real tokenizers, trained in a moment on a few sentences: one for each style that the families use."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEXT: Final = (
    "The mother tongue of Danielle Darrieux is French. The mother tongue of Thomas Joannes Stieltjes is Dutch.",
    "The capital of France is Paris, and Paris's mayor lives in Paris. The capital of Japan is Tokyo.",
    "Anna Maria's office is in the city of Lyon. Beats Music is owned by Apple, and Apple's seat is in Cupertino.",
    "In 1912, 1913 and 1914 the Eiffel Tower stood in Paris; it stands there now, says the city's newspaper.",
    "Ada Marlow lives in Oslo and works as a pilot. Bo Quist works as a baker in Rome.",
)


def byte_level() -> "PreTrainedTokenizerFast":
    """GPT-2's kind: bytes, a blank belongs to the word after it, nothing is put before a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=380,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    end = "<|endoftext|>"
    return _wrapped(tokenizer, bos_token=end, eos_token=end, pad_token=end)


def metaspace() -> "PreTrainedTokenizerFast":
    """Llama's kind: blanks are ▁, unknown characters are bytes, and a BOS stands before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = ["<unk>", "<s>", "</s>", "<pad>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=[*special, *pieces], show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    # trained as special so that they come first; in use, a byte is a piece like any other
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _wrapped(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def unigram() -> "PreTrainedTokenizerFast":
    """T5's kind: pieces with scores, padding as token 0, and an end after every text.

    The pieces are written down, not trained: all of ASCII, and the beginnings of the words in `TEXT`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    words = sorted({word.strip(".,;") for text in TEXT for word in text.split()})
    starts = dict.fromkeys(f"▁{word[:4]}" for word in words)
    letters = [chr(code) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -4.0)]
    pieces += [(piece, -6.0) for piece in starts] + [(letter, -8.0) for letter in letters if letter not in starts]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return _wrapped(tokenizer, unk_token="<unk>", eos_token="</s>", pad_token="<pad>")


def _wrapped(tokenizer: Any, **special: str) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)  # type: ignore[no-untyped-call]


TOKENIZERS: Final[Mapping[str, Callable[[], "PreTrainedTokenizerFast"]]] = {
    "byte_level": byte_level,
    "metaspace": metaspace,
    "unigram": unigram,
}
