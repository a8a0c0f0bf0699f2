"""The hyper-parameters that the family shares; each method gives its own defaults. Light: no torch."""

from typing import Final, Literal

from attrs import frozen, validators

from editcore_hooks import hparam

AUTO: Final = "auto"
"""The corpus that suits the model: bundled text, or what the model itself writes."""
TOKENS_PER_WIDTH: Final = 10
"""Tokens for each of the f directions of C when no number is asked for: enough for GPT- and Llama-type models
(arXiv:2506.04226 finds 2 to 10)."""
LEAST_TOKENS: Final = 20_000

EOS_HELP: Final = (
    "end the answer with the token that ends a text, or in a chat the turn, if the tokenizer has one, so that free "
    "generation stops after it; none: in a chat"
)
EOS_SOURCE: Final = "arXiv:2509.22072, for fine-tuning"
OTHERS_HELP: Final = (
    "other subjects if none are given: so many known names, and as many that the model makes up; with an encoder, "
    "words of the bundled text"
)

positive = validators.gt(0)
not_negative = validators.ge(0)


@frozen
class KeyValueHparams:
    """Contexts, value optimisation and second moment; the defaults are those of ROME's published code."""

    v_steps: int = hparam(20, help="steps of the value optimisation", source="code", validator=positive)
    v_lr: float | None = hparam(
        0.5,
        help="Adam's step size for the value; none: by v_pace",
        source="code",
        validator=validators.optional(positive),
    )
    v_pace: float = hparam(
        0.05,
        help="without v_lr: length of the first step as a share of the value's norm; each step is 5% longer than the "
        "one before",
        source="this package, see the README of editcore-rome",
        validator=positive,
    )
    v_weight_decay: float = hparam(
        0.5, help="weight of the change's norm over the value's squared norm", source="code", validator=not_negative
    )
    clamp: float = hparam(
        4.0, help="bound of the change's norm as a multiple of the value's", source="code", validator=positive
    )
    kl: float = hparam(
        0.0625,
        help="weight of the divergence on '{subject} is a'",
        symbol="λ",
        source="Meng et al. 2022, equation 4; code",
        validator=not_negative,
    )
    v_stop: Literal["loss", "target", "argmax", "settled", "never"] = hparam(
        "loss",
        help="rule to stop before v_steps. loss: the loss is below 0.05; target: the target's part of the loss is; "
        "argmax: every target token is the likeliest in every context (sooner, with a smaller margin); settled, as in "
        "PMET: argmax, and the weighted divergence is below 0.01; never",
        source="code",
    )
    eos: bool | None = hparam(
        None,
        help=f"{EOS_HELP}; see the README of editcore-keyvalue for what it costs",
        source=EOS_SOURCE,
    )
    context_lengths: tuple[int, ...] = hparam(
        (5, 10), help="lengths in tokens of the sampled contexts", source="Meng et al. 2022, appendix E.5; code"
    )
    context_count: int = hparam(
        10,
        help="contexts sampled of each length",
        source="Meng et al. 2022, appendix E.5; code",
        validator=not_negative,
    )
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts to use instead of sampled ones, each with one {} for the prompt"
    )
    context_chat: int = hparam(
        0,
        help="additional chat contexts whose reply begins with the prompt, at most 4; for tokenizers with a chat "
        "template and prompts outside it",
        validator=validators.and_(not_negative, validators.le(4)),
    )
    mom2_corpus: str = hparam(
        AUTO,
        help="corpus of the second moment: bundled, text of this package; self, text that the model writes; a file; a "
        "dataset id; auto: bundled if the model reads it well, otherwise self",
        symbol="C",
        source="Meng et al. 2022, equation 2",
    )
    mom2_tokens: int = hparam(
        0,
        help="minimum tokens of the second moment; 0: ten for each direction",
        source="arXiv:2506.04226",
        validator=not_negative,
    )
    mom2_seconds: float = hparam(
        0.0,
        help="time limit for collecting the moment; if it is too short, a half, a quarter, … of the tokens is read, "
        "with a warning; 0: no limit",
        validator=not_negative,
    )
    mom2_ridge: float | None = hparam(
        None,
        help="ridge on the second moment, relative to its mean diagonal; none: from its spectrum and token count",
        symbol="ε",
        source="Chen et al. 2010, equation 23",
        validator=validators.optional(not_negative),
    )


@frozen
class SpreadHparams(KeyValueHparams):
    """Settings of methods that write many facts at once into several layers; defaults of MEMIT's published code.

    There a context begins with one of five English words; here, as in the rest of this package, with the start token.
    """

    clamp: float = hparam(
        0.75, help="bound of the change's norm as a multiple of the value's", source="code", validator=positive
    )
    context_lengths: tuple[int, ...] = hparam(
        (10,), help="lengths in tokens of the sampled contexts", source="Meng et al. 2023; code"
    )
    context_count: int = hparam(
        5, help="contexts sampled of each length", source="Meng et al. 2023; code", validator=not_negative
    )
    layers: tuple[int, ...] = hparam(
        (),
        help="blocks whose MLP down projections are edited; values are found at the last; none: by depth",
        symbol="ℛ",
        source="Meng et al. 2023, section 4.2",
    )
    context_spread: bool = hparam(
        False,
        help="spare how a key differs from context to context: KKᵀ is summed over contexts, not taken of their mean, "
        "so that a small weight of ordinary keys does not amplify the differences; false: as published",
    )
    key_contexts: int = hparam(
        0,
        help="number of sampled beginnings of sentences in which keys are also read; with context_spread, an edit then "
        "also holds for a subject amid a sentence. They cost little, as no values are found in them",
        validator=not_negative,
    )
    merge: Literal["key", "subject", "none"] = hparam(
        "key",
        help="edits that get one change of value together. key: those whose prompts are the same up to the subject's "
        "last token; subject: all of one subject, each at its own key; none, as first published: each edit has its "
        "own, and where keys collide none is reached",
        source="Dong et al. 2025, arXiv:2502.07322",
    )
    norm_anchor: bool = hparam(
        False,
        help="rescale the new value of the last layer's MLP to the length that such values have on the model without "
        "patches, so that they do not grow from edit to edit; a value of more than twice that length is not written",
        source="NAS, arXiv:2602.02543",
    )
    norm_anchor_length: float | None = hparam(
        None,
        help="length to rescale to; none: the mean over norm_anchor_edits edits of facts that the model states, "
        "without the longest 5%",
        symbol="m",
        validator=validators.optional(positive),
    )
    norm_anchor_edits: int = hparam(
        32, help="edits that the length is the mean of; kept for later edits", source="NAS: 1,000", validator=positive
    )
    history: bool = hparam(
        True,
        help="keep the keys in the patch, and spare the keys of this method's patches on the model; "
        "false, as first published: later edits ignore earlier ones",
        source="Fang et al. 2025, arXiv:2410.02355, for MEMIT as its baseline",
    )


def tokens_by_width(width: int) -> int:
    """Default number of tokens of a second moment for keys of that width."""
    return max(TOKENS_PER_WIDTH * width, LEAST_TOKENS)


def tokens_of_gradients(width: int) -> int:
    """Default number of tokens of a second moment of output gradients: they cost three times as much as keys."""
    return TOKENS_PER_WIDTH * width


def layers_by_depth(n_layers: int, most: int = 5) -> tuple[int, ...]:
    """Up to `most` layers that end at 0.28 of the depth: what published settings of models of 28 to 48 layers share."""
    last = int(n_layers * 0.28)
    count = max(1, min(most, n_layers // 6, last + 1))
    return tuple(range(last - count + 1, last + 1))
