"""RippleEdits: what else an edit must change and must leave, each test with the queries that it rests on."""

from typing import Final

from editcore_bench.datasets.layout import Layout
from editcore_bench.datasets.record import Record
from editcore_bench.datasets.statements import Statement, split
from editcore_hooks import Case, EditRequest, Probe, Rule

PORTABILITY: Final = {
    "Logical_Generalization": "inverse",
    "Compositionality_I": "one_hop",
    "Compositionality_II": "one_hop",
    "Subject_Aliasing": "alias",
}
LOCALITY: Final = {
    "Relation_Specificity": "other_attribution",
    "Relation_Specifity": "other_attribution",  # as its README spells it
    "Forgetfulness": "forgetfulness",
}


class RippleEdits(Layout):
    """Tests keep their condition queries, and an OR or AND over several queries becomes a group with a rule.

    An answer of several values (all the siblings) must name every one of them, but for `still alive?`, whose values are
    spellings of one. The edit is published as a whole statement; subject and target are found in it by its relation.
    Some tests have the edit itself for a condition, which no unedited model meets: it is left aside.
    """

    name = "rippleedits"
    summary = "the ripple effects of an edit, each counted only where the unedited model knows what it rests on"
    paper = "Cohen et al. 2023, arXiv:2307.12976"
    files = "recent.json, random.json and popular.json of RippleEdits' data/benchmark"
    keys = ("example_type", "edit", "Subject_Aliasing", "Compositionality_I", "Forgetfulness")

    def case(self, record: Record, id: str) -> Case:
        edit = record.record("edit")
        before = self._before(edit)
        prompts = _about(record, edit.value.get("subject_id"))
        new = split(edit, prompts, before)
        request = EditRequest(new.prompt, new.subject, new.target, _old(before, new), id=id)
        return Case(
            request,
            locality=self._facets(record, LOCALITY, request),
            portability=self._facets(record, PORTABILITY, request),
        )

    def _before(self, edit: Record) -> str | None:
        # the data and the code of its authors call it by different names
        for key in ("original_fact", "previous_fact"):
            if edit.value.get(key) is not None:
                return edit.record(key).text("prompt")
        return None

    def _facets(self, record: Record, names: dict[str, str], edit: EditRequest) -> dict[str, tuple[Probe, ...]]:
        facets: dict[str, tuple[Probe, ...]] = {}
        for axis, facet in names.items():
            probes = (probe for test in record.records(axis) for probe in self._test(test, edit))
            facets[facet] = (*facets.get(facet, ()), *probes)
        return {facet: probes for facet, probes in facets.items() if probes}

    def _test(self, test: Record, edit: EditRequest) -> list[Probe]:
        rules: dict[str | None, Rule] = {"OR": "any", "AND": "all", None: "any"}
        said = test.text_or_none("test_condition")
        if said not in rules:
            raise test.misfit("test_condition", "OR or AND")
        rests_on = [probe for query in test.records("condition_queries") for probe in self._query(query)]
        conditions = tuple(
            probe
            for probe in rests_on
            if probe.prompt != edit.rendered().text or edit.target_new not in (*probe.targets, *sum(probe.also, ()))
        )
        asked = [probe for query in test.records("test_queries") for probe in self._query(query)]
        group = test.within if len(asked) > 1 else ""
        rule = rules[said] if group else "all"
        return [Probe(probe.prompt, probe.targets, probe.also, conditions, group, rule) for probe in asked]

    def _query(self, query: Record) -> list[Probe]:
        names = [names for answer in query.records("answers") if (names := _names(answer))]
        if not names:
            self.leave_out(query, f"{query.within!r} has no answer")
            return []
        if query.text_or_none("relation") == "IS_ALIVE":
            names = [tuple(dict.fromkeys(sum(names, ())))]
        return [Probe(query.text("prompt"), names[0], tuple(names[1:]))]


def _names(answer: Record) -> tuple[str, ...]:
    """A value and its aliases; an alias of one letter would be found in almost any text."""
    value = answer.text_or_none("value")
    if value is None:
        return ()
    aliases = (alias for alias in answer.texts("aliases") if len(alias) > 1 or alias.isdigit())
    return tuple(dict.fromkeys((value, *aliases)))


def _about(record: Record, subject_id: object) -> list[str]:
    """The prompts of the record that ask of the edited subject itself."""
    queries = [
        query
        for axis in (*LOCALITY, *PORTABILITY)
        for test in record.records(axis)
        for key in ("test_queries", "condition_queries")
        for query in test.records(key)
    ]
    return [query.text("prompt") for query in queries if query.value.get("subject_id") == subject_id]


def _old(before: str | None, new: Statement) -> str | None:
    """The old target in the statement of the earlier fact."""
    if before is None or not before.startswith(new.opening):
        return None
    return before.removeprefix(new.opening).removesuffix(".").strip() or None
