"""The three shapes of model, each from a configuration of transformers and nothing else."""

from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

from editcore_demo.training.vocabularies import byte_level, metaspace, metaspace_ended

LAYERS = 8
WIDTH = 256
HEADS = 8
POSITIONS = 256
T5_LAYERS = 3  # in each stack; transformers cannot generate with a decoder that is deeper than its encoder


@frozen
class Shape:
    """A kind of model: how its tokenizer is learnt, its configuration, and how a packed row begins.

    One that `answers` is an encoder-decoder: it reads a prompt and says the object, and its rows are not packed.
    """

    name: str
    tokenizer: Callable[[Iterable[str]], PreTrainedTokenizerFast]
    config: Callable[[PreTrainedTokenizerFast], PretrainedConfig]
    begins_with_bos: bool
    answers: bool = False
    steps: int = 3000
    learning_rate: float = 1.5e-3


def _gpt2(tokenizer: PreTrainedTokenizerFast) -> GPT2Config:
    return GPT2Config(
        vocab_size=len(tokenizer), n_positions=POSITIONS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _llama(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=POSITIONS, hidden_size=WIDTH, intermediate_size=688,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS // 2, tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _t5(tokenizer: PreTrainedTokenizerFast) -> T5Config:
    return T5Config(  # type: ignore[call-arg]
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=WIDTH // HEADS, d_ff=4 * WIDTH, num_heads=HEADS,
        num_layers=T5_LAYERS, num_decoder_layers=T5_LAYERS, feed_forward_proj="relu", dropout_rate=0.0,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def auto_class(config: PretrainedConfig) -> Any:
    """The class of transformers that makes and loads a model of this configuration."""
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


SHAPES = {
    "gpt2": Shape("gpt2", byte_level, _gpt2, begins_with_bos=False),
    "llama": Shape("llama", metaspace, _llama, begins_with_bos=True),
    "t5": Shape("t5", metaspace_ended, _t5, begins_with_bos=False, answers=True, steps=4000, learning_rate=8e-4),
}
