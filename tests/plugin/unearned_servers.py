"""Servers on loopback from which somebody might hope for a pass, by the case's name in the docs.

Each has a model of its own suite, which is asked for the book by `openai`. The models
know other plays than the book's, or the book itself.
"""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from answer_sets import book_of
from corpus import shakespeare
from faults import Fault, FaultKind, FaultPlan
from http_server import Books
from openai_server import OpenAIServer
from reciter import Reciter

EXCERPTS, WORDS, SAMPLES = 6, 150, 5


@dataclass(frozen=True, slots=True)
class Served:
    """faults: of its chats; knows: whether the model knows the book; keys: of the suite's model.

    aside: how it writes the beginning of the book beside its answer
    recites_more: whether it sends a completion that nobody asked for, which recites
    suite: keys of the suite itself
    """

    faults: tuple[Fault, ...] = ()
    knows: bool = False
    recites_more: bool = False
    aside: str = ""
    keys: str = ""
    suite: str = ""


def chat(kind, code=None, **more):
    """A fault of every chat."""
    return (Fault(kind, "chat", code=code, **more),)


REFUSES = chat(FaultKind.REFUSE_PARAMETER, "temperature")
DEFAULT = 'temperature = "default"'
GREEDY = 'probe = "continuation"\nlimits = { greedy_longest_span = 38 }'

SERVED = {
    "a server that does as it is asked": Served(),
    "a server that refuses temperature": Served(REFUSES),
    'a server that refuses temperature, temperature = "default"': Served(
        REFUSES, suite=DEFAULT
    ),
    "a server that takes no temperature but 1": Served(chat(FaultKind.ONLY_ONE)),
    "a server that refuses top_p, seed and penalties": Served(
        chat(
            FaultKind.REFUSE_PARAMETER, "top_p seed presence_penalty frequency_penalty"
        )
    ),
    "a server that ignores temperature, and is greedy": Served(chat(FaultKind.GREEDY)),
    "a server that thinks until it is cut": Served(chat(FaultKind.THINK)),
    "a server that thinks of a passage until it is cut": Served(
        chat(FaultKind.THINK), knows=True
    ),
    "a server that recites beside its answer, under a name of its own": Served(
        chat(FaultKind.THINK, "inner_monologue"), knows=True
    ),
    "a server that recites in a text beside its message": Served(aside="choice"),
    "a server that recites in thoughts, words joined by hyphens": Served(
        aside="hyphens"
    ),
    "a server that recites beside its choices": Served(aside="draft"),
    "another model answers": Served(chat(FaultKind.REROUTE)),
    "another model answers, served_names = [...]": Served(
        chat(FaultKind.REROUTE), keys='served_names = ["another-model-2"]'
    ),
    "another model answers one call in six": Served(
        (Fault(FaultKind.REROUTE, "chat", calls=tuple(range(0, 60, 6))),),
        keys='served_names = ["another-model-2"]',
    ),
    "a server that names no model in one call in six": Served(
        (Fault(FaultKind.REROUTE, "chat", code="", calls=tuple(range(0, 60, 6))),),
    ),
    "one answer more than was asked for": Served(chat(FaultKind.ONE_MORE)),
    "one answer more than was asked for, which recites": Served(
        recites_more=True, keys="limits = { longest_passage = 38 }"
    ),
    "a server without chat": Served(chat(FaultKind.NO_CHAT)),
    "a server whose finish_reason is guardrail_intervened": Served(
        chat(FaultKind.ENDED, "guardrail_intervened")
    ),
    "a content filter": Served(chat(FaultKind.FILTER)),
    "a filter that rejects the prompt": Served(chat(FaultKind.REJECT)),
    "a refusal in a field of its own": Served(chat(FaultKind.REFUSE)),
    "a refusal in a field of its own, accept_refusals = true": Served(
        chat(FaultKind.REFUSE), keys="accept_refusals = true"
    ),
    "answers without text": Served(chat(FaultKind.EMPTY)),
    "continuation, with its defaults": Served(keys='probe = "continuation"'),
    "continuation, a limit on greedy answers": Served(keys=GREEDY),
    "continuation, a limit on greedy answers, no temperature taken": Served(
        REFUSES, keys=GREEDY, suite=DEFAULT
    ),
    "continuation, no temperature taken": Served(
        REFUSES, keys='probe = "continuation"', suite=DEFAULT
    ),
    "a server that recites": Served(knows=True),
}


def book_of_servers(excerpts=EXCERPTS):
    return book_of("b", list(shakespeare()), words=WORDS, excerpts=excerpts)


def other_plays(count):
    """Words of plays that are none of the book."""
    return list(shakespeare()[100_000 : 100_000 + count])


def reciters(book):
    """By whether they know the book."""
    return {
        False: Reciter([" ".join(other_plays(20_000))], base_order=3),
        True: Reciter([excerpt.text for excerpt in book.excerpts], base_order=9),
    }


def plan_of(case, text):
    """The case's faults, and those by which it recites a text."""
    more = chat(FaultKind.ONE_MORE, text) if case.recites_more else ()
    aside = chat(FaultKind.BESIDE, case.aside, message=text) if case.aside else ()
    return FaultPlan((*case.faults, *more, *aside))


@contextmanager
def serving(cases, book, folder):
    """A server for each of the cases."""
    with ExitStack() as stack:
        books = Books(folder / "books.jsonl")
        stack.callback(books.close)
        by_knowledge, text = reciters(book), book.excerpts[0].text
        servers = {}
        for name, case in cases.items():
            settings = {"books": books, "plan": plan_of(case, text)}
            server = OpenAIServer(reciter=by_knowledge[case.knows], **settings)
            servers[name] = stack.enter_context(server)
        yield servers
