"""Names and values of servers' JSON that no text is written in: closed lists.

Any other string of an answer is read. Sources: the types of the packages openai and
anthropic, and what vLLM, llama.cpp, OpenRouter and Gemini add.
"""

from __future__ import annotations

import re

from pytest_memleak.formats.stream_events import DELTA_TYPES

FILTERED = "content_filter"
"""The reason with which OpenAI's APIs end a choice that a filter ended."""

REFUSED = "refusal"
"""The reason with which Anthropic's API ends a message that a filter ended."""

_OF_MESSAGES = (
    "message_start message_delta message_stop content_block_start content_block_stop "
    "ping error message"
)
_OF_RESPONSES = (
    "created queued in_progress completed incomplete failed "
    "output_item.added output_item.done content_part.added content_part.done "
    "output_text.done output_text.annotation.added refusal.done "
    "reasoning_part.added reasoning_part.done reasoning_text.done "
    "reasoning_summary_part.added reasoning_summary_part.done "
    "reasoning_summary_text.done function_call_arguments.done "
    "custom_tool_call_input.done mcp_call_arguments.done mcp_call.in_progress "
    "mcp_call.completed mcp_call.failed mcp_list_tools.in_progress "
    "mcp_list_tools.completed mcp_list_tools.failed file_search_call.in_progress "
    "file_search_call.searching file_search_call.completed "
    "web_search_call.in_progress web_search_call.searching "
    "web_search_call.completed code_interpreter_call.in_progress "
    "code_interpreter_call.interpreting code_interpreter_call.completed "
    "code_interpreter_call_code.done image_generation_call.in_progress "
    "image_generation_call.generating image_generation_call.completed"
)
_CONTENT_TYPES = (
    "function custom text output_text refusal url_citation file_citation thinking "
    "redacted_thinking reasoning reasoning.text reasoning.encrypted reasoning.summary "
    "reasoning_text summary_text function_call custom_tool_call web_search_call "
    "file_search_call code_interpreter_call mcp_call mcp_list_tools tool_use "
    "server_tool_use web_search_tool_result web_search_result signature_delta "
    "citations_delta char_location page_location content_block_location "
    "web_search_result_location json_object json_schema auto direct"
)
_EVENTS_OF_RESPONSES = [f"response.{name}" for name in _OF_RESPONSES.split()]

CLOSED: dict[str, frozenset[str]] = {
    "object": frozenset(
        {"chat.completion", "chat.completion.chunk", "text_completion", "list",
         "model", "response"},
    ),
    "role": frozenset(
        {"assistant", "user", "system", "developer", "tool", "function", "model"},
    ),
    "type": frozenset(
        {*_CONTENT_TYPES.split(), *_OF_MESSAGES.split(), *_EVENTS_OF_RESPONSES,
         *DELTA_TYPES},
    ),
    "finish_reason": frozenset(
        {"stop", "length", "tool_calls", "function_call", FILTERED, "abort", "error"},
    ),
    "stop_reason": frozenset(
        {"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", REFUSED,
         "model_context_window_exceeded"},
    ),
    "status": frozenset(
        {"completed", "in_progress", "incomplete", "failed", "queued", "cancelled",
         "searching", "interpreting", "generating", "calling"},
    ),
    "reason": frozenset({"max_output_tokens", FILTERED}),
    "truncation": frozenset({"auto", "disabled"}),
    "tool_choice": frozenset({"auto", "none", "required"}),
    "effort": frozenset({"none", "minimal", "low", "medium", "high", "xhigh"}),
    "verbosity": frozenset({"low", "medium", "high"}),
    "service_tier": frozenset(
        {"auto", "default", "flex", "priority", "scale", "standard", "batch"},
    ),
}  # fmt: skip
"""The values of some keys; any other value of theirs is read."""

STREAMED = frozenset(
    {"content", "text", "reasoning", "reasoning_content", "refusal", "arguments",
     "name", "thinking", "input", "summary", "transcript"},
)  # fmt: skip
"""Keys of texts that a stream writes in pieces; a client replaces others."""

USUAL_KEYS = frozenset(
    {*CLOSED, *STREAMED, "choices", "code", "created", "data", "delta", "error",
     "extra_content", "function", "function_call", "google", "id", "index", "message",
     "messages", "model", "owned_by", "param", "reasoning_details", "matched_stop",
     "system_fingerprint", "thought_signature", "thinking_blocks", "signature",
     "tool_calls", "annotations", "usage", "citations", "provider",
     "provider_specific_fields", "prompt_tokens", "completion_tokens", "total_tokens",
     "prompt_tokens_details", "completion_tokens_details", "cached_tokens",
     "audio_tokens", "reasoning_tokens", "accepted_prediction_tokens",
     "rejected_prediction_tokens", "url_citation", "url", "title", "start_index",
     "end_index", "kv_transfer_params", "metrics", "format", "custom",
     # ids
     "item_id", "call_id", "tool_call_id", "tool_use_id", "file_id", "container_id",
     "request_id", "response_id", "previous_response_id", "conversation_id",
     "message_id", "approval_request_id", "previous_item_id",
     # Responses
     "output", "item", "part", "response", "output_index", "content_index",
     "summary_index", "annotation_index", "annotation", "sequence_number",
     "created_at", "completed_at", "incomplete_details", "instructions", "metadata",
     "tools", "parallel_tool_calls", "temperature", "top_p",
     "max_output_tokens", "max_tool_calls", "store", "background",
     "user", "strict", "parameters", "description",
     "input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details",
     "encrypted_content", "prompt_cache_key", "safety_identifier", "phase",
     # Messages
     "content_block", "partial_json", "citation", "cited_text", "document_index",
     "document_title", "start_char_index", "end_char_index", "stop_sequence",
     "stop_details", "cache_creation_input_tokens", "cache_read_input_tokens",
     "cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens",
     "server_tool_use", "web_search_requests", "container", "caller",
     "inference_geo",
     # log-probabilities
     "logprobs", "logprob", "token", "tokens", "token_logprobs", "text_offset", "bytes",
     "top_logprobs",
     # llama.cpp
     "timings", "cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms",
     "prompt_per_second", "predicted_n", "predicted_ms", "predicted_per_token_ms",
     "predicted_per_second",
     # Gemini
     "candidates", "parts", "thought", "thoughtSignature", "finishReason",
     "safetyRatings", "category", "probability", "probabilityScore", "severity",
     "severityScore", "avgLogprobs", "usageMetadata", "promptTokenCount",
     "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount",
     "promptTokensDetails", "candidatesTokensDetails", "modality", "tokenCount",
     "trafficType", "modelVersion", "createTime", "responseId", "promptFeedback",
     "blockReason", "citationMetadata", "functionCall", "args"},
)  # fmt: skip
"""Names of keys that servers use; a server could write text in others."""

_ID = re.compile(
    r"(?:(?:chatcmpl|cmpl|call|toolu|tool|msg|resp|fc|rs|ws|fp|gen|req|run|batch)[_-])*"
    r"[0-9a-f-]*"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[+-][\d:]+)?)?")


def is_id_key(key: str) -> bool:
    """Tell whether a key holds an id."""
    return key == "id" or key.endswith("_id")


def is_usual_value(key: str, value: str) -> bool:
    """Tell whether a value can be no text: of a closed list, a plain id, or a date."""
    if value in CLOSED.get(key, ()):
        return True
    return bool(_DATE.fullmatch(value) or (is_id_key(key) and _ID.fullmatch(value)))
