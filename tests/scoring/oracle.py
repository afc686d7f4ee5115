"""A slow, literal reading of docs/method.md, against which the core is held.

Nothing here is shared with the core but its table of look-alike letters and what
further readings a text has.
"""

import functools
import html
import re
import unicodedata

import regex
from icu4py.breakers import WordBreaker

from pytest_memleak.scoring.folding import LATIN
from pytest_memleak.scoring.further_readings import further_readings
from pytest_memleak.scoring.keyed_texts import keyed

UNSPACED = regex.compile(
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}"
    r"\p{Script=Khmer}\p{Script=Myanmar}\u3006\u30fc]"
)


list(
    WordBreaker("あア漢กກកက", "en")
)  # else the first marks of Japanese texts are of no dictionary


@functools.lru_cache(maxsize=4096)  # a case says each text many times
def words(text, mode="paper"):
    if mode == "unicode":
        return unicode_words(text)
    return [
        token.lower()
        for token in re.findall(r"\w+|[^\w\s]+", text)
        if any(
            c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
            for c in token
        )
    ]


def is_mark(c):
    return unicodedata.category(c).startswith("M")


def unicode_words(text):
    text = unicodedata.normalize("NFKC", text)
    text = separated("".join(c for c in text if unicodedata.category(c) != "Cf"))
    kept, run = [], ""
    for c in text + " ":
        if re.match(r"\w", c) or (run and is_mark(c)):
            run += c
        else:
            kept.append(run)
            run = ""
    return [word.lower() for word in kept if any(c.isalnum() for c in word)]


def separated(text):
    """Runs of letters and marks of unspaced scripts, cut by ICU, between spaces."""
    for am, aa, tones, letter, mark, whole in (
        (
            "\u0e4d",
            "\u0e32",
            "\u0e48-\u0e4b",
            "[\u0e01-\u0e2e]",
            "[\u0e31-\u0e4e]",
            "\u0e33",
        ),
        (
            "\u0ecd",
            "\u0eb2",
            "\u0ec8-\u0ecb",
            "[\u0e81-\u0eae]",
            "[\u0eb1-\u0ece]",
            "\u0eb3",
        ),
    ):
        for parts in reversed([*re.finditer(f"{am}([{tones}]?){aa}", text)]):
            if re.search(f"{letter}{mark}*$", text[: parts.start()]):
                text = text[: parts.start()] + parts[1] + whole + text[parts.end() :]
    cut, at = "", 0
    while at < len(text):
        if not is_unspaced(text[at]):
            cut += text[at]
            at += 1
            continue
        run, gap = "", ""
        while at + len(gap) < len(text) and is_unspaced(text[at + len(gap)]):
            at += len(gap)
            start = at
            while at < len(text) and (is_unspaced(text[at]) or is_mark(text[at])):
                at += 1
            run += text[start:at]
            gap = re.match(r"\s*", text[at:])[0]
            if len(re.findall("\r\n|[\n\r\v\f\x85\u2028\u2029]", gap)) > 1:
                break
        cut += f" {' '.join(WordBreaker(run, 'en'))} "
    return cut


def is_unspaced(c):
    return UNSPACED.match(c) and (c.isalpha() or unicodedata.category(c) == "Nl")


def matches(book, text, k):
    """Every maximal run (start, end) of equal words on one diagonal, of at least k words."""
    return {(start, start + n) for start, _, n in matches_at([(book, 0)], text, k)}


def trimmed(book, match, instruction, k, m):
    start, end = match
    pieces = pieces_within(book[start:end], instruction, k, m)
    return [(start + first, start + last) for first, last in pieces]


def pieces_within(match, instruction, k, m):
    """What is left of a match's words, (first, last + 1), from k words on."""
    gone = prompt_overlap(match, instruction, m)
    run = 0
    for i in range(len(match) + 1):
        if i < len(match) and i not in gone:
            run += 1
        else:
            if run >= k:
                yield i - run, i
            run = 0


def spans_over(candidates, threshold):
    everything = {
        (i, end)
        for start, end in candidates
        for i in range(start, end)
        if end - i > threshold
    }
    taken = []
    for start, end in sorted(everything, key=lambda c: (c[0] - c[1], c[0])):
        if all(end <= a or b <= start for a, b in taken):
            taken.append((start, end))
    return taken


def longest_block(reach):
    block = (0, None, None)
    for start in range(len(reach)):
        end = start
        while end < len(reach) and reach[end]:
            end += 1
        if end - start > block[0]:
            block = (end - start, start, end)
    return block


def measure(excerpts, generations, *, k=5, trim=5, span_threshold=20, mode="paper"):
    """excerpts: [(id, text, instruction)] in order; generations: {id: [text]}."""
    book, bounds = [], {}
    for excerpt_id, text, _ in excerpts:
        start = len(book)
        book += words(text, mode)
        bounds[excerpt_id] = (start, len(book))
    total = len(book)
    rounds, reach = {}, [0] * total
    longest = (0, None, None, None, None)
    candidates = set()
    for excerpt_id, _, instruction in excerpts:
        instruction_words = words(instruction or "", mode)
        first, last = bounds[excerpt_id]
        own = book[first:last]
        for number, text in enumerate(generations.get(excerpt_id, [])):
            text_words = words(text, mode)
            for match in matches(book, text_words, k):
                for a, b in trimmed(book, match, instruction_words, k, trim):
                    for i in range(a, b):
                        rounds.setdefault(i, set()).add(number)
                        reach[i] = max(reach[i], b - a)
            for a, b in sorted(matches(own, text_words, k)):
                if b - a > longest[0]:
                    longest = (b - a, first + a, first + b, excerpt_id, number)
                if b - a > span_threshold:
                    candidates.add((first + a, first + b))
    return {
        "words": total,
        "bmc": sum(map(bool, reach)) / total if total else None,
        "longest_block": longest_block(reach),
        "longest_span": longest,
        "spans": spans_over(candidates, max(span_threshold, k - 1)),
        "rounds": [len(rounds.get(i, ())) for i in range(total)],
        "reach": reach,
    }


def measure_continuations(excerpts, generations, **settings):
    """The same of books asked for by beginnings: excerpts are [(id, prompt, rest)] in order.

    Every word of a prompt stands in the book as one that nobody ever wrote; what is
    counted by place is then counted without those places.
    """
    book, unwritten = [], []
    for excerpt_id, prompt, rest in excerpts:
        # What cannot be continued has no prompt, and is apart from its neighbour all
        # the same.
        count = max(len(words(prompt)), 1)
        blanks = [f"unwritten{len(unwritten) + n}" for n in range(count)]
        unwritten += blanks
        book.append((excerpt_id, " ".join([*blanks, rest]), prompt))
    result = measure(book, generations, **settings)
    places, blank = [], set(unwritten)
    for _, text, _ in book:
        for word in words(text):
            places.append(None if word in blank else len(places) - places.count(None))

    def kept(values):
        return [
            value
            for value, place in zip(values, places, strict=True)
            if place is not None
        ]

    def at(start, end):
        return (None, None) if start is None else (places[start], places[end - 1] + 1)

    rest = result["words"] - len(unwritten)
    length, *block = result["longest_block"]
    span = result["longest_span"]
    return {
        "words": rest,
        "bmc": sum(map(bool, result["reach"])) / rest,
        "longest_block": (length, *at(*block)),
        "longest_span": (span[0], *at(span[1], span[2]), *span[3:]),
        "spans": [at(*span) for span in result["spans"]],
        "rounds": kept(result["rounds"]),
        "reach": kept(result["reach"]),
    }


FILLERS = "\u115f\u1160\u3164\uffa0"
UNSEEN_TAGS = "b|i|em|strong|u|s|span|sup|sub|mark|a|font|small|big|code"
TAG = r"""</?([A-Za-z][A-Za-z0-9-]*)((?:/|\s(?:=\s*"[^"<]*"|=\s*'[^'<]*'|[^<>])*+)?)>"""
NEAR_MATCH, LEAST_NEAR_VERBATIM_WORDS = 5, 20


@functools.lru_cache(maxsize=4096)
def folded(text):
    """Words of the folded text, in the order of section 11's steps."""
    hidden = [*map(shown, re.findall("[\U000e0020-\U000e007e]+", text))]
    text = re.sub("\r\n|[\r\x0b\x0c\x85\u2028\u2029]", "\n", text)
    text = re.sub(
        r"(\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)", "", text
    )
    text = html.unescape(text)
    hidden += [match[2] for match in re.finditer(TAG, text)]
    text = re.sub(
        TAG, lambda tag: "" if re.fullmatch(UNSEEN_TAGS, tag[1].lower()) else " ", text
    )
    for one in hidden:
        if one.strip():
            text += " " + one
    text = unicodedata.normalize("NFKC", with_greek_folded(text))
    if any(map(is_unspaced, text)):
        text = separated(
            "".join(c for c in text if c.isspace() or is_mark(c) or not is_unseen(c))
        )
    # A mark is a mark also where NFKC has made one character of it and its letter.
    text = unicodedata.normalize("NFKD", text)
    text = "".join(c for c in text if c.isspace() or not is_unseen(c))
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"(?<=[^\W_])[-\u2010][^\S\n]*\n[^\S\n]*(?=[^\W_])", "", text)
    text = "\n".join(map(without_number, text.split("\n")))
    text = text.replace("_", " ").replace("*", "")
    text = "".join(LATIN.get(c, c) for c in text)
    return re.findall(r"[^\W_]+", text.casefold())


def with_greek_folded(text):
    """In a text with a letter as no Latin one looks: words of Greek letters, case-folded."""
    if not set(text) & set("ΓΔΘΛΞΠΦΨΩδθλξπφψ"):
        return text
    folded, word = "", ""
    for c in text + " ":
        if re.match(r"\w", c) or 0x300 <= ord(c) <= 0x36F:
            word += c
            continue
        is_greek = all(
            0x300 <= ord(letter) <= 0x3FF or 0x1F00 <= ord(letter) <= 0x1FFF
            for letter in word
        )
        folded += (word.casefold() if is_greek else word) + c
        word = ""
    return folded[:-1]


def shown(tag_characters):
    return "".join(chr(ord(c) - 0xE0000) for c in tag_characters)


def apart(text):
    """The text with blanks for all but letters, digits, marks and blanks, and for inline tags."""
    inline = f"(?i){TAG.replace('[A-Za-z][A-Za-z0-9-]*', UNSEEN_TAGS)}"
    text = re.sub(inline, r" \2 ", html.unescape(text))
    text = re.sub("[\U000e0020-\U000e007e]+", lambda run: f" {shown(run[0])} ", text)
    kept = (
        c.isspace() or is_mark(c) or (c.isalnum() and c not in FILLERS) for c in text
    )
    return "".join(c if keep else " " for c, keep in zip(text, kept, strict=True))


def folded_readings(text, mode):
    """Folded words of a text and of its further readings, and measured ones; how many precede."""
    readings = [
        *map(folded, [text, *further_readings([text], keyed([text], mode), {0})[1]])
    ]
    readings += [words(text, mode)] * (words(text, mode) != readings[0])
    return [
        (sum(map(len, readings[:n])), reading) for n, reading in enumerate(readings)
    ]


def is_unseen(c):
    return unicodedata.category(c)[0] in "CM" or c in FILLERS


def without_number(line):
    at = end = 0
    while at < len(line) and (line[at].isdecimal() or not line[at].isalnum()):
        run = at
        while run < len(line) and line[run].isdecimal():
            run += 1
        if run > at and (run == len(line) or not line[run].isalnum()):
            end = run
        elif run > at:
            break
        at = max(run, at + 1)
    return line[end:]


def matches_at(parts, text, k):
    """Every maximal run as (start in the book, start in the text, words).

    parts: [(words, start)] of the book, none of which a run may leave.
    """
    result, places = [], {}
    for j, word in enumerate(text):
        places.setdefault(word, []).append(j)
    for book, first in parts:
        for s, word in enumerate(book):
            for j in places.get(word, ()):
                if s and j and book[s - 1] == text[j - 1]:
                    continue
                n = 0
                while (
                    s + n < len(book)
                    and j + n < len(text)
                    and book[s + n] == text[j + n]
                ):
                    n += 1
                if n >= k:
                    result.append((first + s, j, n))
    return result


def parts_of(book, to_words):
    """A book's words in parts: one where its excerpts follow each other, else one an excerpt."""
    parts, start = [], 0
    for text in book["excerpts"]:
        its = to_words(text)
        if book.get("contiguous", True) and parts:
            parts = [(parts[0][0] + its, 0)]
        else:
            parts.append((its, start))
        start += len(its)
    return parts


def prompt_overlap(words, instruction, m):
    """The places of `words` in an m-gram that the instruction has too."""
    grams = (
        {tuple(instruction[i : i + m]) for i in range(len(instruction) - m + 1)}
        if m
        else ()
    )
    return {
        place
        for i in range(len(words) - m + 1)
        if tuple(words[i : i + m]) in grams
        for place in range(i, i + m)
    }


def pieces_at(parts, text, instruction, k, m):
    """What is left of the matches: (start in the book, start in the text, words)."""
    return [
        (s + first, j + first, last - first)
        for s, j, n in matches_at(parts, text, k)
        for first, last in pieces_within(text[j : j + n], instruction, k, m)
    ]


def continues(in_book, in_text):
    """Whether gaps of so many words, or an insertion into the text, leave a chain whole."""
    return (
        (in_book <= 10 and in_text <= 10 and abs(in_book - in_text) <= 3)
        or (in_text <= 25 and in_book <= 2)
    )  # fmt: skip


def chains(parts, text, instruction, m):
    """The chains of a text's matches with a book, none of which leaves a part of it."""
    result = set()
    for part in parts:
        runs = matches_at([part], text, NEAR_MATCH)
        gone = {
            run: prompt_overlap(text[run[1] : sum(run[1:])], instruction, m)
            for run in runs
        }
        result |= chains_of(runs, gone)
    return result


def chains_of(runs, gone):
    """Of every chain of matches: its last, words, start in the text, in the book, ends in both.

    gone: per match, the places in it that don't count
    """
    result = set()

    def extend(last, words, first, text_end, book_end):
        chain = (last, words, first[1], first[0], text_end, book_end)
        if chain in result:
            return
        result.add(chain)
        for run in runs:
            s, j, n = run
            in_book = max(0, s - last[0] - last[2])
            in_text = max(0, j - last[1] - last[2])
            if s > last[0] and j > last[1] and continues(in_book, in_text):
                seen = max(0, text_end - j, book_end - s)
                new = sum(i not in gone[run] for i in range(seen, n))
                extend(
                    run, words + new, first, max(text_end, j + n), max(book_end, s + n)
                )

    for run in runs:
        s, j, n = run
        extend(run, n - len(gone[run]), run, j + n, s + n)
    return result


def passages(
    books, excerpts, generations, *, k=5, trim=5, span_threshold=20, mode="paper"
):
    """books: in order, the pair's first, each {"id", "excerpts": [text], "contiguous",
    "protected", "excused"}; excerpts: [(id, instruction)] of the pair's; generations:
    {id: [text]}. A book with "least" is of the catalog, and exact passages of it count
    from so many words on.

    A passage is (words, excerpt's place, ordinal, start in the text, book's place,
    start, end).
    """
    exact, near = [], []
    matched = {}  # per generation, where each book matches in it
    for asked_at, (excerpt_id, instruction) in enumerate(excerpts):
        for number, text in enumerate(generations.get(excerpt_id, [])):
            answer = (asked_at, number)
            prompt = instruction or ""
            its = matched_places(books, words(text, mode), k, mode)
            matched[answer] = its
            for piece, kind in exact_pieces(books, its, text, prompt, k, trim, mode):
                exact.append((placed(piece, answer), kind))
            for piece, kind in near_pieces(books, text, prompt, trim, mode):
                near.append((placed(piece, answer), kind))
    threshold = max(span_threshold, k - 1)
    result = {"over": passages_over(books, exact, matched, threshold)}
    for pieces, prefix in ((exact, ""), (near, "nv_")):
        result[f"{prefix}longest"] = longest_of(pieces, "other", "own")
        for kind in ("own", "other", "excused"):
            result[f"{prefix}{kind}"] = longest_of(pieces, kind)
        result[f"{prefix}by_round"] = by_round(pieces)
    return result


def placed(piece, answer):
    """A passage as `passages` gives it, of (words, start in the text, book's place, ...)."""
    length, *where = piece
    return (length, *answer, *where)


def matched_places(books, text_words, k, mode):
    """Per book, where its matches stand in the text, (start, end)."""
    places = []
    for book in books:
        parts = parts_of(book, lambda text: words(text, mode))
        runs = matches_at(parts, text_words, k)
        places.append([(j, j + n) for _, j, n in runs])
    return places


def excused_places(books):
    return [place for place, book in enumerate(books) if book.get("excused")]


def protected_places(books):
    return [place for place, book in enumerate(books) if book.get("protected", True)]


def kind_of(books, place, holders):
    """The own book excuses others' pieces, and not its own.

    holders: places of the excused books that contain the piece
    """
    if place == 0 and books[0].get("excused") and set(holders) <= {0}:
        return "own"
    return "excused" if holders else "other"


def exact_pieces(books, matched, text, prompt, k, trim, mode):
    """(words, start in the text, book's place, start, end) of verbatim passages; kinds."""
    text_words, prompt_words = words(text, mode), words(prompt, mode)
    for place in protected_places(books):
        least = books[place].get("least", 0)
        parts = parts_of(books[place], lambda text: words(text, mode))
        for s, j, n in pieces_at(parts, text_words, prompt_words, k, trim):
            if n >= least:
                holders = [
                    other
                    for other in excused_places(books)
                    if is_within(matched[other], j, j + n)
                ]
                yield (n, j, place, s, s + n), kind_of(books, place, holders)


def near_pieces(books, text, prompt, trim, mode):
    """(words, start in the text, book's place, start, end) of near passages; kinds."""
    readings = folded_readings(text, mode)
    learnt = [
        (place, parts_of(books[place], folded)) for place in excused_places(books)
    ]
    for place in protected_places(books):
        parts = parts_of(books[place], folded)
        for (n, j, *where), holders in near_passages(
            parts, readings, folded(prompt), trim, learnt
        ):
            yield (n, j, place, *where), kind_of(books, place, holders)


def is_within(places, start, end):
    return any(a <= start and end <= b for a, b in places)


def passages_over(books, exact, matched, threshold):
    """Distinct passages of over so many words, book by book.

    Each (book's place, start, end, excerpt's place, ordinal, start in the text, ids of
    the books that contain it).
    """
    over = []
    of_answer = {}
    for piece, _ in exact:
        of_answer.setdefault(piece[1:3], []).append(piece)
    for place in range(len(books)):
        counted = [
            piece
            for piece, kind in exact
            if piece[4] == place
            and piece[0] > threshold
            and kind != "excused"
            and not is_in_an_earlier_book(piece, of_answer)
        ]
        candidates = {(start, end) for *_, start, end in counted}
        for start, end in spans_over(candidates, threshold):
            ending_there = [piece for piece in counted if piece[6] == end]
            first = min(ending_there, key=in_order)
            _, asked_at, number, first_in_text, _, first_start, _ = first
            j = first_in_text + start - first_start
            holding = [
                book["id"]
                for book, places in zip(books, matched[asked_at, number], strict=True)
                if is_within(places, j, j + end - start)
            ]
            over.append((place, start, end, asked_at, number, j, holding))
    return over


def is_in_an_earlier_book(piece, of_answer):
    """Whether a book before the piece's has all of it in the same generation."""
    n, _, _, j, place, _, _ = piece
    return any(
        other[4] < place and is_within([(other[3], other[3] + other[0])], j, j + n)
        for other in of_answer[piece[1:3]]
    )


def near_passages(parts, readings, instruction, m, learnt):
    """Of each last match the longest chain, (words, start in the text, in the book, its end), and
    which of the books `learnt`, (place, parts), have as many words of it.
    """
    for ahead, text in readings:
        of_last = {}
        for last, n, *where in chains(parts, text, instruction, m):
            of_last[last] = min(of_last.get(last, (1,)), (-n, *where))
        for n, j, s, j_end, s_end in of_last.values():
            if -n >= LEAST_NEAR_VERBATIM_WORDS:
                holders = [
                    at
                    for at, parts in learnt
                    if longest_within(parts, text, j, j_end) >= -n
                ]
                yield (-n, ahead + j, s, s_end), holders


def longest_within(parts, text, start, end):
    """Words of the longest chain of a book's matches, cut to the text's words [start, end)."""
    most = 0
    for part in parts:
        whole = matches_at([part], text, NEAR_MATCH)
        cut = [(s, j, max(j, start), min(j + n, end)) for s, j, n in whole]
        runs = [
            (s + first - j, first, last - first)
            for s, j, first, last in cut
            if first < last
        ]
        result = chains_of(runs, dict.fromkeys(runs, ()))
        most = max([most, *(words for _, words, *_ in result)])
    return most


def in_order(one):
    return (-one[0], *one[1:])


def longest_of(passages, *kinds):
    return min(
        (passage for passage, kind in passages if kind in kinds),
        key=in_order,
        default=None,
    )


def by_round(passages):
    results = {}
    for passage, kind in passages:
        if kind != "excused":
            results[passage[2]] = max(results.get(passage[2], 0), passage[0])
    return results
