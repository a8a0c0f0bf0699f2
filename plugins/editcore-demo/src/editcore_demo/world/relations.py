"""The relations of the world and the sentences that state them.

A template holds `{}` for the subject once and is continued by a blank, the object and a full stop, so that predicting
the next token scores the fact. Most templates put the words of the relation after the subject, as the field's data sets
do.
"""

from attrs import field, frozen

from editcore_demo.world import templates as t


@frozen
class Relation:
    """A named relation from one kind of subject to one kind of object; `inverse` names the relation that undoes it."""

    name: str
    subject_kind: str
    object_kind: str
    templates: tuple[str, ...] = field(repr=False)
    inverse: str | None = None


@frozen
class TwoHop:
    """A question whose answer is `second` of `first` of the subject."""

    name: str
    first: str
    second: str
    templates: tuple[str, ...] = field(repr=False)


RELATIONS: dict[str, Relation] = {
    r.name: r
    for r in (
        Relation("profession", "person", "profession", t.PROFESSION),
        Relation("mother_tongue", "person", "language", t.MOTHER_TONGUE),
        Relation("birthplace", "person", "city", t.BIRTHPLACE),
        Relation("employer", "person", "company", t.EMPLOYER),
        Relation("instrument", "person", "instrument", t.INSTRUMENT),
        Relation("dish", "person", "dish", t.DISH),
        Relation("spouse", "person", "person", t.SPOUSE, inverse="spouse"),
        Relation("author", "work", "person", t.AUTHOR),
        Relation("genre", "work", "genre", t.GENRE),
        Relation("written_in", "work", "language", t.WRITTEN_IN),
        Relation("country", "city", "country", t.COUNTRY),
        Relation("capital", "country", "city", t.CAPITAL, inverse="capital_of"),
        Relation("capital_of", "city", "country", t.CAPITAL_OF, inverse="capital"),
        Relation("language", "country", "language", t.LANGUAGE),
        Relation("currency", "country", "currency", t.CURRENCY),
        Relation("seat", "company", "city", t.SEAT),
        Relation("product", "company", "product", t.PRODUCT),
        Relation("founder", "company", "person", t.FOUNDER, inverse="founded"),
        Relation("founded", "person", "company", t.FOUNDED, inverse="founder"),
    )
}
PERSONAL = ("profession", "mother_tongue", "birthplace", "employer", "instrument", "dish")

TWO_HOPS: tuple[TwoHop, ...] = (
    TwoHop("birth_country", "birthplace", "country", t.BIRTH_COUNTRY),
    TwoHop("employer_seat", "employer", "seat", t.EMPLOYER_SEAT),
    TwoHop("spouse_profession", "spouse", "profession", t.SPOUSE_PROFESSION),
    TwoHop("author_tongue", "author", "mother_tongue", t.AUTHOR_TONGUE),
    TwoHop("seat_country", "seat", "country", t.SEAT_COUNTRY),
    TwoHop("city_currency", "country", "currency", t.CITY_CURRENCY),
)
