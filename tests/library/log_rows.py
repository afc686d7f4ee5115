"""Rows of logs in the formats of their writers, each with one text of a model."""


def openai_batch(n, text):
    body = {
        "id": f"chatcmpl-{n}", "object": "chat.completion", "model": "gpt-4o-mini",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None},
             "finish_reason": "stop"}
        ],
    }  # fmt: skip
    response = {"status_code": 200, "request_id": f"req_{n}", "body": body}
    return {
        "id": f"batch_req_{n}",
        "custom_id": f"p_id{n}",
        "response": response,
        "error": None,
    }


def openai_responses(n, text):
    parts = [{"type": "output_text", "text": text, "annotations": []}]
    output = [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": parts,
        },
    ]
    return {
        "custom_id": f"p_id{n}",
        "response": {"status_code": 200, "body": {"output": output}},
    }


def openai_failed(n, _text):
    error = {"code": "batch_expired", "message": "This request could not be executed."}
    return {
        "id": f"batch_req_{n}",
        "custom_id": f"p_id{n}",
        "response": None,
        "error": error,
    }


def chat(_n, text):
    return {
        "messages": [
            {"role": "system", "content": "You write."},
            {"role": "user", "content": [{"type": "text", "text": "Write a scene."}]},
            {"role": "assistant", "content": [{"type": "text", "text": text}]},
        ]
    }


def reasoned(_n, text):
    answer = {"role": "assistant", "content": "I can't.", "reasoning_content": text}
    return {"messages": [{"role": "user", "content": "Write."}, answer]}


def of_another_role(_n, text):
    return {
        "messages": [
            {"role": "user", "content": "Write."},
            {"role": "bot", "content": text},
        ]
    }


def called(_n, text):
    call = {
        "type": "function",
        "function": {"name": "save", "arguments": f'{{"text": "{text}"}}'},
    }
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"messages": [{"role": "user", "content": "Save it."}, answer]}


def gemini(_n, text):
    turns = [("user", "Write a scene."), ("model", text)]
    return {
        "contents": [{"role": role, "parts": [{"text": part}]} for role, part in turns]
    }


def vertex_batch(n, text):
    request = {"contents": [{"role": "user", "parts": [{"text": "Write a scene."}]}]}
    content = {"role": "model", "parts": [{"text": text[:40]}, {"text": text[40:]}]}
    candidates = [{"content": content, "finishReason": "STOP"}]
    return {
        "status": "",
        "request": request,
        "response": {"candidates": candidates},
        "key": f"{n}",
    }


def completions(_n, text):
    return {
        "object": "text_completion",
        "choices": [{"text": text, "finish_reason": "length"}],
    }


def pair(_n, text):
    return {"prompt": "Write a scene.", "completion": text}


def conversational_pair(_n, text):
    return {
        "prompt": [{"role": "user", "content": "Write a scene."}],
        "completion": [{"role": "assistant", "content": text}],
    }


def paper(n, text):
    return {"excerpt_id": f"p_id{n}", "generations": [{"generated_text": text}]}


FORMATS = (
    openai_batch, openai_responses, chat, reasoned, of_another_role, called, gemini, vertex_batch,
    completions, pair, conversational_pair, paper,
)  # fmt: skip


HONEST = "I count the racks of the hall from top to bottom."


def _chat(*messages, **beside):
    return {"messages": [{"role": "user", "content": "Write."}, *messages], **beside}


def _answer(content=HONEST, **beside):
    return {"role": "assistant", "content": content, **beside}


def _responses(**beside):
    return {
        "custom_id": "p_id1",
        "response": {"body": {"output": [_answer()], **beside}},
    }


def texts_beside_an_answer(text):
    """Rows of known formats, by what is odd in them; the text stands where no answer belongs."""
    chats = {
        **{
            key: _chat(_answer(), **{key: text})
            for key in ("response", "output", "chosen", "model")
        },
        "error": _chat(_answer(), error={"message": text}),
        "message without role": _chat(_answer(), {"content": text}),
        "message of from and value": _chat(_answer(), {"from": "gpt", "value": text}),
        "author": _chat(
            {"author": {"role": "assistant"}, "content": {"parts": [text]}}
        ),
        "text beside content": _chat(_answer(text=text)),
        "parts beside content": _chat(_answer(parts=[{"text": text}])),
        "source of a message": _chat(_answer(source=text)),
        "citation": _chat(
            _answer([{"text": HONEST, "citations": [{"cited_text": text}]}])
        ),
        "later prompt": _chat(
            _answer(text), {"role": "user", "content": f"You wrote: {text}"}
        ),
        "later result of a tool": _chat(
            _answer(tool_calls=[{"function": {"arguments": text}}]),
            {"role": "tool", "content": text},
        ),
        "parts of another key": _chat(_answer(text), reference={"parts": [text]}),
        "role under another key": _chat(
            _answer(text), metadata={"role": "user", "content": text}
        ),
    }
    inspect = {"epoch": 1, "output": {"completion": text, "choices": []}}
    return {
        **chats,
        "reasoning beside a completion": pair(1, HONEST) | {"reasoning": text},
        "completion in a list": {"prompt": "Write.", "completion": [{"text": text}]},
        "text beside a message": {"choices": [{"text": text, "message": _answer()}]},
        "inspect_ai without choices": _chat(_answer()) | inspect,
        "text of a response": {"request": {"contents": []}, "response": {"text": text}},
        "text beside an output": _responses(output_text=text),
    }
