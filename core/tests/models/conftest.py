"""Tiny models with random weights and small real tokenizers, built here: nothing is fetched."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE, WordPiece
from transformers import AutoModelForCausalLM as AutoModel
from transformers import (
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from editcore.models.loading.loader import load
from editcore.testing.tiny import tiny_model
from editcore_hooks import EditMethod, Location, LowRank, Update, hookimpl

VOCABULARY = 380
TEXT = [
    "The mother tongue of Danielle Darrieux is French. The mother tongue of Thomas Joannes Stieltjes is Dutch.",
    "The capital of France is Paris, and Paris's mayor lives in Paris. The capital of Japan is Tokyo.",
    "Anna Maria's office is in the city of Lyon. Beats Music is owned by Apple, and Apple's seat is in Cupertino.",
    "In 1912, 1913 and 1914 the Eiffel Tower stood in Paris; it stands there now, says the city's newspaper.",
    "Gabriel García Márquez wrote in Spanish. Zoë lives in Zürich, and Ångström was born in Sweden.",
] * 3


def config_of(family):
    shared = {"vocab_size": VOCABULARY, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}
    gated = {
        **shared,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
    }
    match family:
        case "gpt2":
            return GPT2Config(**shared, n_embd=32, n_layer=3, n_head=4, n_positions=128)
        case "llama":
            return LlamaConfig(**gated, num_key_value_heads=4, tie_word_embeddings=False)
        case "qwen2":
            return Qwen2Config(**gated, num_key_value_heads=2, tie_word_embeddings=True)
    raise ValueError(family)


def build(config):
    """A model in eval mode whose weights are large enough that every part matters to the logits."""
    torch.manual_seed(0)
    model = AutoModel.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


FAMILIES = ("gpt2", "llama", "qwen2")


@pytest.fixture(scope="session")
def models():
    return {family: build(config_of(family)) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def model(request, models):
    return models[request.param]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The opened tiny model of a family, to be left as it is."""
    opened = {}

    def get(family):
        if family not in opened:
            opened[family] = load(tiny_model(family, tmp_path_factory.mktemp(family)))
        return opened[family]

    return get


def _pushing(*sites):
    """An entry module with one method, which adds the same rank-1 matrix at each site."""

    class Pushing(EditMethod):
        name = "pushing"

        @hookimpl
        def editcore_locate(self, session, requests, state):
            return Location(sites)

        @hookimpl
        def editcore_compute_update(self, session, requests, location, state):
            return Update({site: self.push(*session.anatomy.weight(site).shape) for site in location.sites})

        def push(self, n_out, n_in):
            return LowRank(torch.linspace(-1, 1, n_out)[:, None], torch.linspace(0, 1, n_in)[None])

    @hookimpl
    def editcore_register_methods():
        return [Pushing]

    module = ModuleType("pushing")
    module.editcore_register_methods = editcore_register_methods
    return module


@pytest.fixture
def pushing():
    """Of some sites, the entry module of a throwaway method that edits them."""
    return _pushing


def _fast(tokenizer, **special):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def _train(tokenizer, special, size, alphabet=()):
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)


def byte_level(*, trim_offsets=False, normalizer=None):
    """GPT-2's kind: bytes, a blank belongs to the word after it."""
    tokenizer = Tokenizer(BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    _train(tokenizer, ["<|endoftext|>"], VOCABULARY, pre_tokenizers.ByteLevel.alphabet())
    return _fast(tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>")


SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _sentencepiece(tokenizer):
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    _train(tokenizer, [*SPECIAL, *BYTES], 460)
    # trained as special so that they come first; in use, a byte is a piece like any other
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in SPECIAL]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _fast(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def metaspace(prepend_scheme):
    """Llama's kind as Metaspace: blanks are ▁, one is put before the text, and a BOS."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    return _sentencepiece(tokenizer)


def legacy_llama():
    """Llama 2 as converted: the blanks are the work of a normaliser, and words are not split before merging."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), "merged_with_next")
    return _sentencepiece(tokenizer)


def word_piece():
    """BERT's kind: lower case, accents taken off, a marker inside words, an end token after every text."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=400,
        special_tokens=["[UNK]", "[CLS]", "[SEP]"],
        initial_alphabet=list("東京都は😀"),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return _fast(tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


class SlowTokenizer(PreTrainedTokenizer):
    """Longest match over pieces that hold blanks; tells no offsets, merges "s." and "'s c", and adds a BOS."""

    def __init__(self, pieces=(), **options):
        self._pieces = {piece: i for i, piece in enumerate(["<unk>", "<s>", *pieces])}
        super().__init__(unk_token="<unk>", bos_token="<s>", **options)

    @property
    def vocab_size(self):
        return len(self._pieces)

    def get_vocab(self):
        return dict(self._pieces)

    def _tokenize(self, text, **options):
        pieces = []
        while text:
            length = next((n for n in range(min(len(text), 12), 0, -1) if text[:n] in self._pieces), 1)
            pieces.append(text[:length])
            text = text[length:]
        return pieces

    def _convert_token_to_id(self, token):
        return self._pieces.get(token, 0)

    def _convert_id_to_token(self, index):
        return list(self._pieces)[index]

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        return [1, *token_ids_0]


def slow():
    characters = sorted({character for text in TEXT for character in text} | set("東京都は😀\u0308 \n\"'?!"))
    pieces = [*characters, " Paris", "Danielle", " Darrieux", " is", " of", "s.", "'s c", " French", " Dutch", "The "]
    return SlowTokenizer(pieces)


TOKENIZERS = {
    "byte-level": byte_level,
    "byte-level, trimmed offsets": lambda: byte_level(trim_offsets=True),
    "byte-level, NFKC and lower case": lambda: byte_level(
        normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    ),
    "metaspace, always": lambda: metaspace("always"),
    "metaspace, first": lambda: metaspace("first"),
    "legacy llama": legacy_llama,
    "word pieces": word_piece,
    "slow": slow,
}


@pytest.fixture(scope="session")
def tokenizers():
    made = {}

    def get(name):
        if name not in made:
            made[name] = TOKENIZERS[name]()
        return made[name]

    return get


@pytest.fixture(scope="session")
def gpt2_tokenizer(tokenizers):
    return tokenizers("byte-level")


@pytest.fixture
def folder(tmp_path, models, gpt2_tokenizer):
    """Write a model with its tokenizer the way people do, and return the folder."""

    def save(model="gpt2", **options) -> Path:
        where = tmp_path / "model"
        chosen = models[model] if isinstance(model, str) else model
        chosen.save_pretrained(where, **options)
        gpt2_tokenizer.save_pretrained(where)
        return where

    return save
