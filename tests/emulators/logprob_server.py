"""An OpenAI server that gives the log-probabilities of a prompt, in the forms of several servers.

Its tokens are words with the blank before them. Each has LIKELY as its log-probability where it is
of the known text, which it writes on, and UNLIKELY elsewhere.
"""

import re

from http_server import RequestRejected, Response
from openai_server import OpenAIServer

LIKELY, UNLIKELY = -0.001, -4.0


def tokens_of(text):
    return re.findall(r"\s*\S+|\s+\Z", text)


class LogprobServer(OpenAIServer):
    """known: the text that it knows
    gives: "echo", "prompt_logprobs", or ""; what it doesn't give it ignores, or refuses
    written: how a token is written; begin: what stands before all
    """

    def __init__(
        self, *, known="", gives="echo", refuses=False, written=str, begin=(), **common
    ):
        super().__init__(**common)
        self._known, self._gives, self._refuses = known, gives, refuses
        self._written, self._begin = written, begin
        self.asked = []

    def _chat(self, request):
        body = request.json()
        wanted = {"echo", "prompt_logprobs"} & body.keys()
        if not wanted:
            return super()._chat(request)
        self.asked.append(body)
        (way,) = wanted
        if way != self._gives:
            if self._refuses:
                raise RequestRejected(400, f"'{way}' is not supported", param=way)
            return super()._chat(request)
        text = body["prompt"]
        logprobs = [*self._logprobs(text), UNLIKELY]
        logprobs[0] = None
        tokens = [*self._begin, *map(self._written, tokens_of(text)), " and"]
        choice = {"index": 0, "text": " and", "finish_reason": "length"}
        if way == "echo":
            echoed = {"tokens": tokens, "token_logprobs": logprobs}
            choice |= {"text": f"{text} and", "logprobs": echoed}
        else:
            rows = zip(tokens[:-1], logprobs[:-1], strict=True)
            listed = [{"7": {"decoded_token": t, "logprob": p}} for t, p in rows]
            choice |= {"prompt_logprobs": [None, *listed[1:]]}
        usage = {"prompt_tokens": len(tokens) - 1, "completion_tokens": 1}
        return Response.json(
            {
                "id": "cmpl-1",
                "model": body["model"],
                "choices": [choice],
                "usage": usage,
            }
        )

    def _logprobs(self, text):
        """One for each token before those that are written."""
        yield from [UNLIKELY] * len(self._begin)
        end = 0
        for token in tokens_of(text):
            end += len(token)
            is_known = text[:end].strip() in self._known
            yield LIKELY if is_known else UNLIKELY
