"""Settings of IKE and its siblings; they differ in what is put before a prompt."""

from attrs import frozen, validators

from editcore_hooks import hparam

_IKE = "Zheng et al. 2023, arXiv:2305.12740"


@frozen
class RetrievalHparams:
    """Which facts a prompt gets."""

    encoder: str | None = hparam(
        None,
        help="folder or hub id of a sentence encoder; none: the states of the model itself",
    )
    floor: float = hparam(
        0.5, help="least cosine of prompt and fact for a fact to be put in; -1 as published: the nearest always",
        validator=validators.and_(validators.ge(-1), validators.le(1)),
    )  # fmt: skip
    facts: int = hparam(
        1, help="largest number of facts that a prompt gets, the most similar last", validator=validators.gt(0)
    )


@frozen
class ManyHparams(RetrievalHparams):
    """Settings of `retrieval`."""

    facts: int = hparam(
        3, help="largest number of facts that a prompt gets, the most similar last", validator=validators.gt(0)
    )


@frozen
class IkeHparams(RetrievalHparams):
    """Settings of `ike`."""

    corpus: str | None = hparam(None, help="JSONL file of cases to take demonstrations from", source=_IKE)
    demonstrations: int = hparam(
        32, help="demonstrations before the fact: an eighth copy a fact, three eighths update, half retain", symbol="k",
        source=_IKE, validator=validators.gt(0),
    )  # fmt: skip
