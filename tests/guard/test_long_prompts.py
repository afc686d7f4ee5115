"""Of a long prompt, only what shares words with a book is read again for each passage."""

import json
import threading
import time

import httpx
import pytest
from disguised_texts import prose
from guarded_texts import library

pytest.importorskip("aiohttp", reason="the extra guard is not installed")
from chat_streams import guarded

from pytest_memleak.guard import GuardedAnswer
from pytest_memleak.guard.long_prompts import MOST_EXCUSING, shortened
from pytest_memleak.scoring.multi_book_index import SharedIndex

OWN = " ".join(f"own{n}" for n in range(40_000))
QUOTED = " ".join(prose("the-lamplighter")[:90])


def test_a_short_prompt_stays_as_it_is():
    assert shortened(f"Own words. {QUOTED}", library()) == f"Own words. {QUOTED}"


def test_a_long_prompt_keeps_what_a_book_has():
    shorter = shortened(f"{OWN} {QUOTED} {OWN}", library())
    assert len(shorter) < 50_000
    assert QUOTED in shorter


def test_words_at_the_border_of_two_pieces_still_excuse():
    for before in (19_500, 19_700, 19_900):
        prompt = f"{OWN[:before]} {QUOTED} {OWN}"
        asked = {"messages": [{"role": "user", "content": prompt}]}
        body = {"choices": [{"message": {"content": QUOTED}}]}
        (sent,) = GuardedAnswer(library(), asked).read(body, whole=True)
        assert sent["choices"][0]["message"]["content"] == QUOTED


def turns(*texts):
    """Return a request with earlier turns of the model."""
    return {"messages": [{"role": "assistant", "content": text} for text in texts]}


def left_of(asked, text, **rules):
    body = {"choices": [{"message": {"content": text}}]}
    (sent,) = GuardedAnswer(library(), asked, **rules).read(body, whole=True)
    return sent["choices"][0]["message"]["content"].split()


@pytest.mark.parametrize("before", [0, 50_000, 200_000])
def test_a_long_history_counts_against_the_budget(before):
    other = " ".join(prose("the-lamplighter")[500:530])
    history = turns(f"{OWN[:before]} {QUOTED} {OWN}")
    assert len(left_of(history, other, budget=90)) <= 7
    assert left_of(turns(OWN), other, budget=90) == other.split()


def test_an_answer_continues_the_end_of_a_long_history():
    words = QUOTED.split()
    history = turns(OWN, f"{OWN} {' '.join(words[:30])}")
    assert left_of(history, " ".join(words[30:]), budget=None) == words[30:38]


def test_a_long_text_in_many_parts_excuses():
    parts = [{"type": "text", "text": OWN[n:][:900]} for n in range(0, 200_000, 900)]
    parts.insert(100, {"type": "text", "text": QUOTED})
    asked = {"messages": [{"role": "user", "content": parts}]}
    assert left_of(asked, QUOTED) == QUOTED.split()


@pytest.mark.full
def test_a_long_prompt_excuses_with_no_more_than_a_million_characters():
    words = prose("the-lamplighter")
    parts = (" ".join(words[n % 9_000 :][:60]) + f" own{n}" for n in range(9_000))
    shorter = shortened(" ".join(parts), library())
    assert MOST_EXCUSING <= len(shorter) <= MOST_EXCUSING + 60_000


def test_an_answer_reads_its_prompt_once_however_many_passages_it_has(monkeypatch):
    read = []
    instructions = SharedIndex.instructions

    def counting(index, texts, **how):
        read.extend(text for text in texts if QUOTED in text)
        return instructions(index, texts, **how)

    monkeypatch.setattr(SharedIndex, "instructions", counting)
    asked = {
        "n": 2,
        "messages": [{"role": "user", "content": f"Correct this: {QUOTED}"}],
    }
    answer = GuardedAnswer(library(), asked)
    sent = ["", ""]
    for word in QUOTED.split():
        for number in (0, 1):
            delta = {"index": number, "delta": {"content": f"{word} "}}
            for chunk in answer.read({"choices": [delta]}):
                (choice,) = chunk["choices"]
                sent[choice["index"]] += choice["delta"]["content"]
    assert (sent[0].split(), answer.stops) == (QUOTED.split(), [])
    assert len(read) == len(["as measured", "folded"])


MEGABYTES_60 = 60_000_000
LONGEST = {
    "the book": " ".join(prose("the-lamplighter")),
    "own words": OWN,
    "one word": "a",
}


def most_waited(url, data):
    """Send a long request, and short ones meanwhile; the longest that one of them took."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    waited = []
    ended = threading.Event()

    def ask():
        with httpx.Client(timeout=60) as client:
            while not ended.is_set():
                start = time.monotonic()
                assert client.post(url, json=asked).status_code == 200
                waited.append(time.monotonic() - start)

    thread = threading.Thread(target=ask)
    thread.start()
    assert httpx.post(url, content=data, timeout=300).status_code == 413
    ended.set()
    thread.join()
    return max(waited)


@pytest.mark.full
@pytest.mark.parametrize("name", LONGEST)
def test_a_prompt_of_60_megabytes_delays_others_by_less_than_a_third_of_a_second(name):
    text = LONGEST[name] * (MEGABYTES_60 // len(LONGEST[name]))
    messages = [{"role": "user", "content": text}]
    data = json.dumps({"model": "m", "messages": messages}).encode()
    with guarded(library()) as (server, _, address):
        yes = {"message": {"role": "assistant", "content": "Yes."}}
        server.answers["m"] = {"choices": [yes | {"finish_reason": "stop"}]}
        url = f"{address}/v1/chat/completions"
        # Other processes may be busy.
        assert any(most_waited(url, data) < 0.33 for _ in range(4))
