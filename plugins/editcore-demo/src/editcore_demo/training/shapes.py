"""The two shapes of model, both from a configuration of transformers and nothing else."""

from collections.abc import Callable, Iterable

from attrs import frozen
from transformers import GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast

from editcore_demo.training.vocabularies import byte_level, metaspace

LAYERS = 8
WIDTH = 256
HEADS = 8
POSITIONS = 256


@frozen
class Shape:
    """A kind of model: how its tokenizer is learnt, its configuration, and how a packed row begins."""

    name: str
    tokenizer: Callable[[Iterable[str]], PreTrainedTokenizerFast]
    config: Callable[[PreTrainedTokenizerFast], PretrainedConfig]
    begins_with_bos: bool


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


SHAPES = {
    "gpt2": Shape("gpt2", byte_level, _gpt2, begins_with_bos=False),
    "llama": Shape("llama", metaspace, _llama, begins_with_bos=True),
}
