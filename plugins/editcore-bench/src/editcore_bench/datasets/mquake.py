"""MQuAKE: several edits a case, and the questions over the chain of facts they change."""

from editcore_bench.datasets.counterfact import rewrite_request
from editcore_bench.datasets.layout import Layout
from editcore_bench.datasets.record import Record
from editcore_hooks import Case, Probe


class Mquake(Layout):
    """A case is right when any of its three questions is answered after all its edits.

    The chain is asked link by link too (facet `hop`), by the cloze of each link. A question counts only when the
    unedited model knows the links of the old chain and those links of the new one that no edit writes: without them
    it fails for lack of knowledge, not because of the edit.
    """

    name = "mquake"
    summary = "multi-hop questions over facts that are edited together"
    paper = "Zhong et al. 2023, arXiv:2305.14795"
    files = "MQuAKE-CF-3k-v2.json, MQuAKE-CF-3k.json (edits that contradict others), MQuAKE-CF.json, MQuAKE-T.json"
    keys = ("requested_rewrite", "questions", "new_answer", "single_hops", "new_single_hops")

    def case(self, record: Record, id: str) -> Case:
        rewrites = record.records("requested_rewrite")
        if not rewrites:
            raise record.misfit("requested_rewrite", "a list of at least one edit")
        requests = [
            rewrite_request(rewrite, f"{id}+{number}" if number else id) for number, rewrite in enumerate(rewrites)
        ]
        written = {request.rendered().text for request in requests}
        links = [_link(hop) for hop in record.records("new_single_hops")]
        unedited = [link for link in links if link.prompt not in written]
        known = tuple(dict.fromkeys([*(_link(hop) for hop in record.records("single_hops")), *unedited]))
        answer = (record.text("new_answer"), *record.texts("new_answer_alias"))
        questions = record.some_texts("questions")
        return Case(
            requests[0],
            rewrites[0].texts("question"),
            portability={
                "multi_hop": tuple(Probe(question, answer, (), known, "chain", "any") for question in questions),
                "hop": tuple(
                    Probe(link.prompt, link.targets, (), (link,) if link in unedited else (), "links") for link in links
                ),
            },
            together=tuple(requests[1:]),
        )


def _link(hop: Record) -> Probe:
    return Probe(hop.text("cloze"), (hop.text("answer"), *hop.texts("answer_alias")))
