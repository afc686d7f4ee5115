"""Passages as reports are told of them."""

from pytest_memleak.books.instructions import beginnings
from pytest_memleak.records import Generation


def test_of_a_continuation_the_place_is_the_whole_books_and_the_rate_its_own_prompts(
    make_book, make_result
):
    whole = make_book(excerpts=3, words=80)
    rests = beginnings(whole, prefix_words=30)
    its_words = " ".join(one.text for one in whole.excerpts).replace(".", "").split()

    def passages(*answers, asked="p_id1"):
        said = [Generation(asked, number, text) for number, text in enumerate(answers)]
        told = make_result(rests, said, samples=3, whole=whole).passages
        return [one for one in told if "near" not in one.kind]

    rest, elsewhere = " ".join(its_words[115:150]), "nothing of it is said here at all"
    (told,) = passages(rest, rest, elsewhere)
    assert (told.start, told.end, told.excerpt_id, told.book) == (115, 150, "p_id1", None)
    assert (told.rate.start, told.rate.end) == (55, 90)
    assert (told.rate.hits, told.rate.tries) == (2, 3)
    # No one prompt asks for what runs on into the next excerpt, or stands in another prompt.
    (told,) = passages(" ".join(its_words[130:170]))
    assert (told.start, told.end, told.rate) == (130, 170, None)
    (told,) = passages(" ".join(its_words[0:25]))
    assert (told.start, told.end, told.excerpt_id, told.asked_for) == (0, 25, "p_id0", "p_id1")
    assert told.rate is None
