"""Other subjects that an edit should spare: known names in the script of the subject, and made-up ones."""

from pathlib import Path

import pytest

import editcore
from editcore_hooks import EditRequest
from editcore_keyvalue.alike import alike
from editcore_keyvalue.contexts import made_up
from editcore_keyvalue.unrelated import other_subjects, same_question

REQUEST = EditRequest("The capital of {} is", "France", "Rome")


@pytest.fixture(scope="module")
def session(llama_folder: Path) -> editcore.Session:
    return editcore.open(llama_folder)


def test_known_names_are_spread_over_their_kinds_and_stand_before_made_up_ones(session: editcore.Session) -> None:
    found = list(other_subjects(session, REQUEST, 8))
    invented = list(made_up(session, 8))
    known = found[: len(found) - len(invented)]
    assert found[len(known) :] == invented
    listed = alike(REQUEST)
    assert len(known) == 8
    assert set(known) <= set(listed)
    assert "France" not in known
    assert listed.index(known[-1]) > len(listed) // 2


def test_none_are_found_where_none_are_asked_for(session: editcore.Session) -> None:
    assert list(other_subjects(session, REQUEST, 0)) == []


def test_names_that_are_given_take_the_place_of_both(session: editcore.Session) -> None:
    asked = EditRequest("{} works as a", "Ada Marlow", "pilot")
    assert len(same_question(session, asked, 8, ("Bo Quist", "Cleo Tolland"))) == 2
