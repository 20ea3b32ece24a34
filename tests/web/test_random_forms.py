"""Random forms, cut at random: the contents that were sent, or an error of the client."""

from random import Random

from tests.web.forms import store_form
from tests.web.random_forms import damaged, random_cut, random_form

FORMS = 2000


def test_random_forms_are_stored_with_their_contents_however_they_are_cut():
    random = Random(17)
    for number in range(FORMS):
        form = random_form(random)
        assert form.names() == store_form(form.pieces, form.boundary), (number, form)


def test_damaged_forms_are_stored_alike_however_they_are_cut_or_refused():
    random = Random(18)
    refused = 0
    for number in range(FORMS):
        form = damaged(random, random_form(random))
        body = b"".join(form.pieces)
        outcome = store_form([body], form.boundary)
        assert outcome in (form.names(), 400, 413), (number, form)
        assert outcome == store_form(form.pieces, form.boundary), (number, form)
        assert outcome == store_form(random_cut(random, body), form.boundary), (number, form)
        refused += not isinstance(outcome, list)
    assert FORMS // 4 < refused < FORMS
