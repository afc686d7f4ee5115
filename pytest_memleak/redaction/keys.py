"""Masking of what looks like a key, for whatever is kept or shown of somebody else's message.

    masked("401: Incorrect API key provided: sk-proj-abc...")  ->  "401: ... provided: [masked]"

The causes of failures come from providers and SDKs, which like to quote the key they refused.
What the ledger keeps of them goes through `masked` first.
"""

from __future__ import annotations

import os
import re

__all__ = ["masked"]

MASK = "[masked]"
_SHORTEST_SECRET = 8

# Forms of keys that name themselves: OpenAI and its kin, Tinker, Google access tokens and API
# keys, GitHub, Hugging Face, AWS, JSON web tokens, private key blocks.
_KEYS = re.compile(
    r"""
      \b(?:sk|pk|rk|tml|hf|xai|gsk|nvapi)[-_][A-Za-z0-9_\-*.]{6,}
    | \bya29\.[A-Za-z0-9_\-.]+
    | \bAIza[A-Za-z0-9_\-]{10,}
    | \b(?:ghp|gho|ghs|ghu|github_pat)_[A-Za-z0-9_]{10,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*)?
    | -----BEGIN[^-]*PRIVATE\ KEY-----[\s\S]*?(?:-----END[^-]*-----|\Z)
    """,
    re.VERBOSE,
)
# Places where a value of any form is a secret.
_PLACES = re.compile(
    r"""(?ix)
      (?P<before> \bbearer\s+
        | ://[^/\s:@]*:
        | ["']?\b(?:[a-z0-9]+[-_])*(?:api[-_]?key|secret|password|passwd|token|authorization)\b
          ["']?\s*[=:]\s*["']?(?:bearer\s+|basic\s+)?
      )
      (?P<secret> [^\s"'&,;@]{4,} )
    """
)
_NAMES = re.compile(r"(?:_|\b)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$", re.IGNORECASE)


def masked(message: str, *, limit: int = 300) -> str:
    """The message on one line, without what looks like a key, at most `limit` characters long.

    Values of environment variables named like secrets are masked wherever they stand.
    """
    for value in _secrets_of_the_environment():
        message = message.replace(value, MASK)
    message = _PLACES.sub(lambda found: found["before"] + MASK, _KEYS.sub(MASK, message))
    message = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return message if len(message) <= limit else message[: limit - 1] + "…"


def _secrets_of_the_environment() -> list[str]:
    values = {
        value
        for name, value in os.environ.items()
        if _NAMES.search(name) and len(value) >= _SHORTEST_SECRET and not value.startswith("/")
    }
    # Longest first, so that a key inside another one leaves no rest behind.
    return sorted(values, key=len, reverse=True)
