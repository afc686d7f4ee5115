"""Masking of what looks like a key, for whatever is kept or shown of somebody else's message.

    masked("401: Incorrect API key provided: sk-proj-abc...")  ->  "401: ... provided: [masked]"

The causes of failures come from providers and SDKs, which like to quote the key they refused.
What the ledger keeps of them goes through `masked` first.
"""

from __future__ import annotations

import os
import re

MASK = "[masked]"
_SHORTEST_SECRET = 8
_LOOKED_AT = 8_192  # characters behind what may be shown, which masks may make shorter

# Forms of keys that name themselves: HTTP's names with passwords, OpenAI and its kin, Tinker,
# Google access tokens and API keys, GitHub, Hugging Face, AWS, JSON web tokens, private key blocks.
_KEYS = re.compile(
    r"""
      \bBasic\ (?=[A-Za-z+/]{0,200}[0-9=])[A-Za-z0-9+/]{8,}={0,2}
    | \b(?:sk|pk|rk|tml|hf|xai|gsk|nvapi)[-_][A-Za-z0-9_\-*.]{6,}
    | \bya29\.[A-Za-z0-9_\-.]+
    | \bAIza[A-Za-z0-9_\-]{10,}
    | \b(?:ghp|gho|ghs|ghu|github_pat)_[A-Za-z0-9_]{10,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}
    | \beyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*
    | -----BEGIN[^-]*PRIVATE\ KEY-----[\s\S]*?(?:-----END[^-]*-----|\Z)
    """,
    re.VERBOSE,
)
# Places where a value of any form is a secret. No part of this begins with a repetition: a text
# of nothing but beginnings would be read anew from each.
_PLACES = re.compile(
    r"""(?ix)
      (?P<before> \bbearer\s+
        | (?<![a-z0-9])(?:api[-_]?key|secret|password|passwd|token|authorization)\b
          ["']?\s*[=:]\s*["']?(?:bearer\s+|basic\s+)?
      )
      (?P<secret> [^\s"'&,;@]{4,} )
    """
)
# What stands before the host of a URL: at most a name is shown, where a password follows.
_CREDENTIALS = re.compile(
    r"(?P<before>://(?:[^/\s:@]{0,80}:)?)[^\s/@]{1,200}(?:@[^\s/@]{1,200}){0,2}(?=@)"
)
_PORT = re.compile(r":[0-9]*$")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_NAMES = re.compile(r"(?:_|\b)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$", re.IGNORECASE)


def masked(message: str, *, limit: int = 300) -> str:
    """The message on one line, without what looks like a key, at most `limit` characters long.

    Values of environment variables named like secrets are masked wherever they stand. A message
    is cut before anything looks at it: what stands behind its first thousands of characters is
    not read, and what stands at the cut, where it could be half a secret, is not shown.
    """
    secrets = _secrets_of_the_environment()
    cut = message[: limit + _LOOKED_AT]
    for value in secrets:
        cut = cut.replace(value, MASK)
    if len(message) > limit + _LOOKED_AT:
        cut = cut[: len(cut) - max(map(len, secrets), default=0)].rpartition(" ")[0]
    cut = _KEYS.sub(MASK, cut)
    for pattern in (_PLACES, _CREDENTIALS):
        cut = pattern.sub(lambda match: match["before"] + MASK, cut)
    cut = " ".join("".join(c if c.isprintable() else " " for c in cut).split())
    if len(cut) <= limit and len(message) <= limit + _LOOKED_AT:
        return cut
    return cut[: limit - 1] + "…"


def without_passwords(text: str) -> str:
    """A text of any length, with the passwords of the URLs in it masked."""
    return _CREDENTIALS.sub(lambda match: match["before"] + MASK, text) if "://" in text else text


def without_credentials(url: str) -> str:
    """The URL as it may be shown: without name and password before its host, and without query."""
    scheme, separator, rest = url.partition("://")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    # A password that was not encoded may hold any of these three; a path seldom holds an @.
    if "@" not in rest[:end] and ":" in rest[:end] and not _PORT.search(rest[:end]):
        end = len(rest)
    return _QUERY.sub("", scheme + separator + rest[:end].rpartition("@")[2] + rest[end:])


def _secrets_of_the_environment() -> list[str]:
    values = {
        value
        for name, value in os.environ.items()
        if _NAMES.search(name) and len(value) >= _SHORTEST_SECRET and not value.startswith("/")
    }
    # Longest first, so that a key inside another one leaves no rest behind.
    return sorted(values, key=len, reverse=True)
