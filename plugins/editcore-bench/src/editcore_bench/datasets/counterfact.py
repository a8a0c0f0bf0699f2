"""CounterFact, as ROME published it and as EasyEdit flattened it."""

from attrs import frozen

from editcore_bench.datasets.layout import Layout, LayoutHparams
from editcore_bench.datasets.record import Record
from editcore_bench.datasets.subjects import marked
from editcore_hooks import Case, EditRequest, Probe, hparam


@frozen
class NeighbourHparams(LayoutHparams):
    distract: bool = hparam(
        False,
        help="also ask each neighbour right after the edited statement, as distract_neighbour",
        source="Yao et al. 2023, arXiv:2305.13172, 5.2",
    )


class CounterFact(Layout):
    """Neighbours are other subjects of which the old object is true.

    `attribute_prompts` (subjects of which the new object was true already) have no place: no published score uses them.
    """

    name = "counterfact"
    summary = "false facts with paraphrases, neighbours and generation prompts (ROME's layout)"
    paper = "Meng et al. 2022, arXiv:2202.05262"
    files = "counterfact.json and multi_counterfact.json of rome.baulab.info and memit.baulab.info"
    keys = ("case_id", "requested_rewrite", "paraphrase_prompts", "neighborhood_prompts")
    Hparams = NeighbourHparams

    def case(self, record: Record, id: str) -> Case:
        rewrite = record.record("requested_rewrite")
        request = rewrite_request(rewrite, id)
        return Case(
            request,
            record.texts("paraphrase_prompts"),
            neighbours(request, record.texts("neighborhood_prompts"), request.target_true, self.hparams.distract),
            generation=record.texts("generation_prompts"),
        )


class FlatCounterFact(Layout):
    """One rephrase and one neighbour a record."""

    name = "counterfact-flat"
    summary = "false facts with one rephrase and one neighbour each (EasyEdit's layout)"
    paper = "Meng et al. 2022, arXiv:2202.05262"
    files = "counterfact-edit.json, counterfact-train.json and counterfact-val.json of EasyEdit"
    keys = ("prompt", "subject", "target_new", "ground_truth", "rephrase_prompt", "locality_prompt")
    Hparams = NeighbourHparams

    def case(self, record: Record, id: str) -> Case:
        prompt, subject = marked(record, "prompt", "subject")
        request = EditRequest(prompt, subject, record.text("target_new"), record.text("ground_truth"), id=id)
        near, truth = record.texts("locality_prompt"), record.text_or_none("locality_ground_truth")
        return Case(
            request,
            record.texts("rephrase_prompt"),
            neighbours(request, near, truth, self.hparams.distract),
        )


def rewrite_request(rewrite: Record, id: str) -> EditRequest:
    """The request of a `requested_rewrite`, whose prompt marks the subject with `{}`."""
    prompt = rewrite.text("prompt")
    if "{}" not in prompt:
        raise rewrite.misfit("prompt", "a text with {} where the subject stands")
    new, true = rewrite.record("target_new").text("str"), rewrite.record("target_true").text("str")
    return EditRequest(prompt, rewrite.text("subject"), new, true, id=id)


def neighbours(
    request: EditRequest, prompts: tuple[str, ...], truth: str | None, distract: bool
) -> dict[str, tuple[Probe, ...]]:
    """The facet `neighbour`, and when asked for `distract_neighbour`, which has the edited statement before it."""
    targets = () if truth is None else (truth,)
    facets = {"neighbour": tuple(Probe(prompt, targets) for prompt in prompts)}
    if distract:
        said = f"{request.rendered().text} {request.target_new}."
        facets["distract_neighbour"] = tuple(Probe(f"{said} {prompt}", targets) for prompt in prompts)
    return facets
