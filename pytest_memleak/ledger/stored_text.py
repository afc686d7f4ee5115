"""Texts as the ledger stores them: any string as bytes, generations compressed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

# Larger rows would leave much of a page empty, and PostgreSQL would move them away.
_PART_BYTES = 1_960


class Text(sa.types.TypeDecorator[str]):
    """Any Python string, stored as UTF-8 bytes that may contain lone surrogates."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        """Return the stored bytes."""
        if value is None:
            return None
        return value.encode("utf-8", "surrogatepass")

    def process_result_value(
        self,
        value: bytes | None,
        _dialect: Dialect,
    ) -> str | None:
        """Return the stored string."""
        if value is None:
            return None
        if not isinstance(value, bytes | memoryview):
            raise TypeError("not text")
        return bytes(value).decode("utf-8", "surrogatepass")


class ChainEntry(sa.types.TypeDecorator[str]):
    """An entry of the chain, stored compressed."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        """Return the stored bytes."""
        if value is None:
            return None
        return _compress(value, _ENTRY_DICTIONARY, zlib.Z_FILTERED)

    def process_result_value(
        self,
        value: bytes | None,
        _dialect: Dialect,
    ) -> str | None:
        """Return the stored entry."""
        if value is None:
            return None
        return _decompress(value, _ENTRY_DICTIONARY)


def compress_texts(texts: Sequence[tuple[str, str]]) -> list[bytes]:
    """Compress a call's generations, as text and reasoning, into the stored parts."""
    data = _compress(json.dumps(texts, ensure_ascii=False), _TEXT_DICTIONARY)
    starts = range(0, len(data), _PART_BYTES)
    return [data[start : start + _PART_BYTES] for start in starts]


def decompress_texts(parts: Iterable[tuple[int, bytes]]) -> list[tuple[str, str]]:
    """Invert `compress_texts`, from numbered parts.

    Raises TypeError or ValueError for parts that it didn't make.
    """
    data = []
    for number, (part, piece) in enumerate(parts):
        if part != number:
            raise ValueError("a part is missing")
        data.append(piece)
    texts = json.loads(_decompress(b"".join(data), _TEXT_DICTIONARY))
    if not all(type(text) is type(reasoning) is str for text, reasoning in texts):
        raise TypeError("not a text")
    return [(text, reasoning) for text, reasoning in texts]


def _compress(
    text: str,
    dictionary: bytes,
    strategy: int = zlib.Z_DEFAULT_STRATEGY,
) -> bytes:
    """Return a text's zlib stream; `dictionary` is what such texts have in common."""
    stream = zlib.compressobj(strategy=strategy, zdict=dictionary)
    return stream.compress(text.encode("utf-8", "surrogatepass")) + stream.flush()


def _decompress(value: object, dictionary: bytes) -> str:
    """Return the text of one whole zlib stream; else TypeError or ValueError."""
    if not isinstance(value, bytes | memoryview):
        raise TypeError("not compressed")
    stream = zlib.decompressobj(zdict=dictionary)
    try:
        text = stream.decompress(value)
    except zlib.error:
        raise ValueError("not compressed") from None
    if not stream.eof or stream.unused_data:
        raise ValueError("not one whole stream")
    return text.decode("utf-8", "surrogatepass")


# What English texts have in common, the most frequent last.
_TEXT_DICTIONARY = (
    b"something nothing everything morning evening together another against between "
    b"through without because before after himself herself themselves thought looked "
    b"turned seemed father mother brother sister children people little great world "
    b"house night heart hands eyes face voice young woman never always again still "
    b"where there their these those which while would could should might shall every "
    b"other under about being having going coming. It was not until At the end of the "
    b"In the middle of the and in the of the to the on the for the from the with the "
    b"by the at the that the into the over the was a had been have been it is there "
    b"was there were they were he had she had he said she said I have I am you are you "
    b"have do not did not could not would not as if and then and yet but the when the. "
    b"The . He . She . It . They . And . But . I , and , but , the , with a , who , "
    b'which ing the tion that the ment ness less ful ly ed the er est , he said. "I '
    b'"You "What "Why said the of his of her in his in her to be it was he was she was '
    b'as the as a like a in a of a to a for a with the [["", ""]]'
)

# What the chain's entries have in common, the most frequent last.
_ENTRY_DICTIONARY = (
    b'"cause": "fingerprint": "finish_word": "STOP" "length" "reasoning": "run": '
    b'"imported"[["calls", {"cause": null, "claims": null, "cost": 0, "ended": , '
    b'"state": "failed"}]"refused": "[]", "response_id": "chatcmpl-", "model": "kind": '
    b'"batch", "batch": {"at": 17, "rows": [["calls", {"claims": null, "came": 1, '
    b'"completion_tokens": , "cost": , "ended": 17, "fingerprint": null, '
    b'"generations": [{"completion_tokens": , "finish_reason": "stop", "ordinal": 0, '
    b'"prompt_tokens": , "text": "0123456789abcdef"}], "id": , "model": null, '
    b'"prompt_tokens": , "recovered": false, "refused": null, "response_id": null, '
    b'"state": "answered"}], ["calls", {"asked": 1, "began": 17, "claims": [0], '
    b'"estimate": "first": 0, "id": , "kind": "sample", "lease": 1, "max_tokens": , '
    b'"provider": "openai", "prompt": , "request_id": "fedcba9876543210", "run": "", '
    b'"seed": , "state": "asked"}]]}'
)
