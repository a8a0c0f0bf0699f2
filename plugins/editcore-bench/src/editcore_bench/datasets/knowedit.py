"""KnowEdit's factual parts: WikiData recent and counterfact, WikiBio, ZsRE."""

from collections.abc import Mapping
from typing import ClassVar, Final

from editcore_bench.datasets.layout import Layout
from editcore_bench.datasets.record import Record
from editcore_bench.datasets.subjects import marked
from editcore_hooks import Case, EditRequest, Probe

PORTABILITY: Final = {"reasoning": "one_hop", "subject_aliasing": "alias", "logical_generalization": "inverse"}
LOCALITY: Final = {
    "relation_specificity": "other_attribution",
    "relation_specifity": "other_attribution",  # as some files spell it
    "forgetfulness": "forgetfulness",
}


class KnowEdit(Layout):
    """Shared code of the four parts. Probes without an answer are left out, as in the original scripts."""

    paper = "Zhang et al. 2024, arXiv:2401.01286"
    keys: ClassVar[tuple[str, ...]] = ("subject", "prompt", "target_new")
    prompt_key: ClassVar[str] = "prompt"
    subject_key: ClassVar[str] = "subject"
    target_key: ClassVar[str] = "target_new"

    def case(self, record: Record, id: str) -> Case:
        prompt, subject = marked(record, self.prompt_key, self.subject_key)
        true = answers(record, "ground_truth")
        return Case(
            EditRequest(
                prompt,
                subject,
                record.text(self.target_key),
                true[0] if true else None,
                id=id,
                contexts=record.texts("context"),  # in the files published with ICE
            ),
            record.texts("rephrase_prompt") or record.texts("rephrase"),
            self._facets(record, "locality", LOCALITY),
            self._facets(record, "portability", PORTABILITY),
        )

    def _facets(self, record: Record, key: str, names: Mapping[str, str]) -> dict[str, tuple[Probe, ...]]:
        if record.value.get(key) is None:
            return {}
        facets: dict[str, tuple[Probe, ...]] = {}
        groups = record.record(key)
        for published in groups.value:
            facet = names.get(published.lower())
            if facet is None:
                known = ", ".join(dict.fromkeys(name.title() for name in names))
                raise groups.misfit(published, f"one of {known}")
            probes = (probe for item in groups.records(published) for probe in self._probes(item))
            facets[facet] = (*facets.get(facet, ()), *probes)
        return facets

    def _probes(self, item: Record) -> tuple[Probe, ...]:
        found = answers(item, "ground_truth")
        prompts = item.texts("prompt")
        if not found or not prompts:
            self.leave_out(item, f"{item.within!r} has no {'answer' if prompts else 'prompt'}")
            return ()
        return tuple(Probe(prompt, found) for prompt in prompts)


class WikiDataRecent(KnowEdit):
    name = "knowedit-recent"
    summary = "facts that came into WikiData after the models were trained"
    files = "recent_train.json and recent_test.json of KnowEdit's wiki_recent"


class WikiDataCounterFact(KnowEdit):
    """Not CounterFact: these are false triples of WikiData, in the layout of RippleEdits' tests."""

    name = "knowedit-counterfact"
    summary = "false triples of WikiData with reasoning, aliasing and specificity probes"
    files = "train_cf.json and test_cf.json of KnowEdit's wiki_counterfact"
    keys = ("subject", "prompt", "target_new", "ground_truth")


class WikiBio(KnowEdit):
    """The target is a whole sentence; the facts correct a hallucinated biography."""

    name = "knowedit-wikibio"
    summary = "sentences that correct a hallucinated biography, with other relations of the same person"
    files = "wikibio-train-all.json and wikibio-test-all.json of KnowEdit's WikiBio"
    keys = ("text", "labels", "concept")
    prompt_key, subject_key, target_key = "text", "concept", "labels"


class ZsreKnowEdit(KnowEdit):
    name = "knowedit-zsre"
    summary = "zsRE with a rephrase, and portability and locality probes"
    files = "ZsRE-test-all.json of KnowEdit's ZsRE"
    keys = ("subject", "prompt", "target_new", "rephrase_prompt", "ground_truth")


def answers(record: Record, key: str) -> tuple[str, ...]:
    """The accepted answers under `key`, out of a text or lists of texts of any depth; blank ones left out.

    A list of lists does not say whether it holds other answers or other names: whether someone is alive has `no` and
    `false` in two lists, and so have two siblings. So each is accepted, and the first is the canonical one.
    """
    found: list[str] = []
    open_ = [record.value.get(key)]
    while open_:
        value = open_.pop()
        if isinstance(value, list):
            open_.extend(reversed(value))
        elif isinstance(value, (str, int, float)):
            found.append(str(value).strip())
        elif value is not None:
            raise record.misfit(key, "a text, a list of texts or a list of lists of texts")
    return tuple(dict.fromkeys(text for text in found if text))
