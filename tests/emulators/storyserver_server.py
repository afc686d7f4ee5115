"""A server of an invented API on loopback: the one of docs/extending.md.

Books have a row for each "completion".
"""

from faults import FaultKind
from http_server import ModelServer, RequestRejected, Response
from reciter import Completions, count_tokens


class StoryServer(ModelServer):
    """most: the most outputs of a call."""

    def __init__(self, *, reciter, books, models=("base",), most=20, **common):
        super().__init__(books=books, **common)
        self._stories = Stories(
            reciter=reciter,
            books=books,
            models=models,
            most=most,
            new_id=lambda prefix: f"{prefix}{next(self._numbers):06d}",
        )
        self.add_routes("", ("POST", "/v2/write", "chat", self._write))

    @property
    def base_url(self):
        return f"{self.url}/v2"

    def refusal(self, status, message, details):
        fault = {"why": message, "kind": details.get("code")}
        return Response.json({"fault": fault}, status=status)

    def check(self, request):
        sent = request.headers.get("x-story-key")
        if self.key is not None and sent != self.key:
            raise RequestRejected(
                401, f"Nobody has the key {sent}.", code="unknown_key"
            )

    def _write(self, request):
        return Response.json(self._stories.write(request.json(), request.strike))


class Stories(Completions):
    """Texts as this server makes, checks, and bills them."""

    def write(self, body, strike):
        instruction, model = body["input"], body["engine"]
        if model not in self.models:
            raise RequestRejected(404, f"There is no engine {model}.")
        if FaultKind.REJECT in strike.content:
            raise RequestRejected(400, "The input was filtered.", code="content_filter")
        if body["count"] > self._most:
            raise RequestRejected(400, f"count must be at most {self._most}")
        settings = {
            "temperature": body.get("creativity", 1.0),
            "max_tokens": body["length"],
            "seed": body.get("random"),
        }
        answers = self.draw(model, instruction, strike, n=body["count"], **settings)
        outputs = [_output(answer) for answer in answers]
        for output in strike.struck(FaultKind.EMPTY, outputs):
            output["content"] = ""
        for output in strike.struck(FaultKind.FILTER, outputs):
            output.update(content=None, end="blocked")
        outputs[0]["in"] = count_tokens(instruction)
        ticket = self._new_id("ticket-")
        rows = [(each["content"] or "", each["end"], each["out"]) for each in outputs]
        asked = {"call": ticket, "model": model, "instruction": instruction}
        self.bill(rows, outputs[0]["in"], asked | settings)
        rerouted = FaultKind.REROUTE in strike.content
        engine = "another-model-2" if rerouted else model
        return {"engine": engine, "ticket": ticket, "outputs": outputs}


def _output(answer):
    end = "done" if answer.ended else "cut"
    return {"content": answer.text, "end": end, "in": 0, "out": answer.tokens}


EMULATOR = StoryServer
