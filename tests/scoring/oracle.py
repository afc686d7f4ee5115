"""A slow, literal reading of METRICS.md sections 1 to 3, against which the core is held.

Nothing here is shared with the core: words by one regular expression, matches by comparing
every position of the book with every position of the text, masks as lists of booleans.
"""

import re
import unicodedata

import regex

UNSPACED = regex.compile(
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}"
    r"\p{Script=Khmer}\p{Script=Myanmar}\u3006\u30fc]"
)


def words(text, mode="paper"):
    if mode == "unicode":
        return unicode_words(text)
    return [
        token.lower()
        for token in re.findall(r"\w+|[^\w\s]+", text)
        if any(c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" for c in token)
    ]


def is_mark(c):
    return unicodedata.category(c).startswith("M")


def unicode_words(text):
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    kept, run = [], ""
    for c in text + " ":
        if not re.match(r"\w", c) and not (run and is_mark(c)):
            kept += cut_unspaced(run)
            run = ""
        else:
            run += c
    return [piece.lower() for piece in kept if any(c.isalnum() for c in piece)]


def cut_unspaced(token):
    pieces = []
    for c in token:
        if pieces and (is_mark(c) or completes_am(pieces[-1], c)):
            pieces[-1] += c
        elif not pieces or UNSPACED.match(c) or UNSPACED.match(pieces[-1][0]):
            pieces.append(c)
        else:
            pieces[-1] += c
    return pieces


def completes_am(piece, c):
    for am, aa, tones in (
        ("\u0e4d", "\u0e32", "\u0e48-\u0e4b"),
        ("\u0ecd", "\u0eb2", "\u0ec8-\u0ecb"),
    ):
        if c == aa and re.search(f"{am}[{tones}]?$", piece) and UNSPACED.match(piece[0]):
            return piece.count(aa) == 0
    return False


def matches(book, text, k):
    """Every maximal run (start, end) of equal words on one diagonal, of at least k words."""
    found = set()
    for s in range(len(book)):
        for j in range(len(text)):
            if s and j and book[s - 1] == text[j - 1]:
                continue
            n = 0
            while s + n < len(book) and j + n < len(text) and book[s + n] == text[j + n]:
                n += 1
            if n >= k:
                found.add((s, s + n))
    return found


def trimmed(book, match, instruction, k, m):
    start, end = match
    if end - start < m or m == 0:
        return [match]
    grams = {tuple(instruction[i : i + m]) for i in range(len(instruction) - m + 1)}
    gone = set()
    for i in range(start, end - m + 1):
        if tuple(book[i : i + m]) in grams:
            gone.update(range(i, i + m))
    pieces, run = [], []
    for i in range(start, end + 1):
        if i < end and i not in gone:
            run.append(i)
        else:
            if len(run) >= k:
                pieces.append((run[0], run[-1] + 1))
            run = []
    return pieces


def spans_over(candidates, threshold):
    everything = {
        (i, end) for start, end in candidates for i in range(start, end) if end - i > threshold
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
        asked = words(instruction or "", mode)
        first, last = bounds[excerpt_id]
        own = book[first:last]
        for number, text in enumerate(generations.get(excerpt_id, [])):
            said = words(text, mode)
            for match in matches(book, said, k):
                for a, b in trimmed(book, match, asked, k, trim):
                    for i in range(a, b):
                        rounds.setdefault(i, set()).add(number)
                        reach[i] = max(reach[i], b - a)
            for a, b in sorted(matches(own, said, k)):
                if b - a > longest[0]:
                    longest = (b - a, first + a, first + b, excerpt_id, number)
                if b - a > span_threshold:
                    candidates.add((first + a, first + b))
    return {
        "words": total,
        "bmc": sum(map(bool, reach)) / total if total else None,
        "longest_block": longest_block(reach),
        "longest_span": longest,
        "spans": spans_over(candidates, span_threshold),
        "rounds": [len(rounds.get(i, ())) for i in range(total)],
        "reach": reach,
    }


def measure_continuations(excerpts, generations, **settings):
    """The same of books asked for by beginnings: excerpts are [(id, prompt, rest)] in order.

    Every word of a prompt stands in the book as one that nobody ever wrote; what is counted by
    place is then counted without those places.
    """
    book, unwritten = [], []
    for excerpt_id, prompt, rest in excerpts:
        # What cannot be continued has no prompt, and is apart from its neighbour all the same.
        count = max(len(words(prompt)), 1)
        blanks = [f"unwritten{len(unwritten) + n}" for n in range(count)]
        unwritten += blanks
        book.append((excerpt_id, " ".join([*blanks, rest]), prompt))
    found = measure(book, generations, **settings)
    places, blank = [], set(unwritten)
    for _, text, _ in book:
        for word in words(text):
            places.append(None if word in blank else len(places) - places.count(None))

    def kept(values):
        return [one for one, place in zip(values, places, strict=True) if place is not None]

    def at(start, end):
        return (None, None) if start is None else (places[start], places[end - 1] + 1)

    rest = found["words"] - len(unwritten)
    length, *block = found["longest_block"]
    span = found["longest_span"]
    return {
        "words": rest,
        "bmc": sum(map(bool, found["reach"])) / rest,
        "longest_block": (length, *at(*block)),
        "longest_span": (span[0], *at(span[1], span[2]), *span[3:]),
        "spans": [at(*one) for one in found["spans"]],
        "rounds": kept(found["rounds"]),
        "reach": kept(found["reach"]),
    }
