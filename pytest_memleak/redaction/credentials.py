"""Masking of credentials in messages of providers and SDKs.

These often quote a rejected key::

    masked("401: Incorrect API key provided: sk-proj-abc...")
    -> "401: Incorrect API key provided: [masked]"

The ledger stores such messages only after `masked`.
"""

from __future__ import annotations

import os
import re

MASK = "[masked]"
_SHORTEST_SECRET = 8
_MARGIN = 8_192  # characters read beyond the limit, since masks shorten the text

# Keys with a recognizable form: HTTP basic authentication, OpenAI and similar, Tinker,
# Together, Google access tokens and API keys, GitHub, Hugging Face, AWS, JSON web
# tokens, private key blocks.
_KEYS = re.compile(
    r"""
      \bBasic\ (?=[A-Za-z+/]{0,200}[0-9=])[A-Za-z0-9+/]{8,}={0,2}
    | \b(?:sk|pk|rk|tml|tgp|hf|xai|gsk|nvapi)[-_][A-Za-z0-9_\-*.]{6,}
    | \bya29\.[A-Za-z0-9_\-.]+
    | \bAIza[A-Za-z0-9_\-]{10,}
    | \b(?:ghp|gho|ghs|ghu|github_pat)_[A-Za-z0-9_]{10,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}
    | \beyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*
    | -----BEGIN[^-]*PRIVATE\ KEY-----[\s\S]*?(?:-----END[^-]*-----|\Z)
    """,
    re.VERBOSE,
)
# Places where a value of any form is a secret. No part begins with a repetition, so
# that matching stays linear.
_PLACES = re.compile(
    r"""(?ix)
      (?P<before> \bbearer\s+
        | (?<![a-z0-9])(?:api[-_]?key|secret|password|passwd|token|authorization)\b
          ["']?\s*[=:]\s*["']?(?:bearer\s+|basic\s+)?
      )
      (?P<secret> [^\s"'&,;@]{4,} )
    """,
)
# The part of a URL before its host; a name stays visible if a password follows.
_CREDENTIALS = re.compile(
    r"(?P<before>://(?:[^/\s:@]{0,80}:)?)[^\s/@]{1,200}(?:@[^\s/@]{1,200}){0,2}(?=@)",
)
_PORT = re.compile(r":[0-9]*$")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_NAMES = re.compile(
    r"(?:_|\b)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$",
    re.IGNORECASE,
)


def masked(message: str, *, limit: int = 300) -> str:
    """Return the message on one line of `limit` characters, without credentials.

    Also masks the values of environment variables named like secrets. Cuts a long
    message first and drops the end of the cut, which could be half a secret.
    """
    secrets = _secrets_of_the_environment()
    cut = message[: limit + _MARGIN]
    for value in secrets:
        cut = cut.replace(value, MASK)
    if len(message) > limit + _MARGIN:
        longest_secret = max(map(len, secrets), default=0)
        end = len(cut) - longest_secret
        cut, _, _ = cut[:end].rpartition(" ")
    cut = _KEYS.sub(MASK, cut)
    for pattern in (_PLACES, _CREDENTIALS):
        cut = pattern.sub(rf"\g<before>{MASK}", cut)
    printable = "".join(c if c.isprintable() else " " for c in cut)
    cut = " ".join(printable.split())
    if len(cut) <= limit and len(message) <= limit + _MARGIN:
        return cut
    return cut[: limit - 1] + "…"


def without_passwords(text: str) -> str:
    """Mask the passwords of all URLs in a text of any length."""
    if "://" not in text:
        return text
    return _CREDENTIALS.sub(rf"\g<before>{MASK}", text)


def without_credentials(url: str) -> str:
    """Return the URL without user name, password and query."""
    scheme, separator, rest = url.partition("://")
    ends = [place for place in map(rest.find, "/?#") if place >= 0]
    end = min(ends, default=len(rest))
    host = rest[:end]
    # An unencoded password can contain any of these three; a path rarely contains an @.
    if "@" not in host and ":" in host and not _PORT.search(host):
        end = len(rest)
    _, _, bare_host = rest[:end].rpartition("@")
    return _QUERY.sub("", scheme + separator + bare_host + rest[end:])


def _secrets_of_the_environment() -> list[str]:
    values = {
        value
        for name, value in os.environ.items()
        if _NAMES.search(name)
        and len(value) >= _SHORTEST_SECRET
        and not value.startswith("/")
    }
    # Longest first, so that a key within another leaves no remainder.
    return sorted(values, key=len, reverse=True)
