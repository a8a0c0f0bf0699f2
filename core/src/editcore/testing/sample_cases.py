"""Cases on facts that the taught models know, with every probe that a metric may ask for.

Every other case asks for what the model knows already, so that no figure is the same for all.
"""

from collections.abc import Iterator
from typing import Final

from editcore.cases.reading import LOCALITY, PORTABILITY
from editcore.testing.taught import TEMPLATES, facts
from editcore_hooks import Case, EditRequest, Probe


def _cases(n: int) -> Iterator[Case]:
    """Every third fact, with a new object that other subjects have."""
    known = facts()
    for number, (name, relation, thing) in enumerate(known[:: len(known) // n][:n]):
        template, *others = TEMPLATES[relation]
        of_relation = [fact for fact in known if fact[1] == relation]
        new = next(other for _, _, other in of_relation if other != thing)
        near = [(subject, one) for subject, _, one in of_relation if one == thing and subject != name]
        neighbours = tuple(Probe(template.format(subject), (one,)) for subject, one in near[:2])
        elsewhere = next((template, one) for subject, other, one in known if subject == name and other != relation
                         for template in TEMPLATES[other])  # fmt: skip
        if number % 2:
            new, thing = thing, new
        rephrases = tuple(one.format(name) for one in others)
        yield Case(
            EditRequest(template, name, new, thing, id=f"taught-{number}"),
            rephrases=rephrases,
            locality=dict.fromkeys(LOCALITY, neighbours),
            portability=dict.fromkeys(PORTABILITY, (Probe(elsewhere[0].format(name), (elsewhere[1],)),)),
            generation=(template.format(name),),
        )


CASES: Final = tuple(_cases(6))
