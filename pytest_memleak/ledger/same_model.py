"""Which endpoints of a ledger have the same model, with the same options.

The same model: the same digest of weights; else the same version of the weights behind
one name, or one name alone (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from pytest_memleak.ledger.call_states import call_end
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import calls, stored_prompts
from pytest_memleak.records.provenance import weights_digest

WEIGHTS_VERSION_MARK = "; release "
SERIES_MARK = "; series "
_OPTIONS = "#"


def without_series(endpoint_id: str) -> str:
    """Return the name that all series of an endpoint share."""
    return endpoint_id.partition(SERIES_MARK)[0]


def same_model_endpoints(
    ledger: Ledger,
    endpoint_id: str,
    book: sa.ColumnElement[bool],
    *,
    until: float,
) -> list[str]:
    """Return the endpoints of the same model that a book's prompts were sent to.

    book:  selects the book's prompts
    until: servers' names count up to then, in seconds since 1970
    """
    identities = _identities(ledger, book, until=until)
    own = identities.get(endpoint_id)
    if own is None:
        return []
    return [
        endpoint
        for endpoint, identity in identities.items()
        if identity.is_same_model(own)
    ]


@dataclass(slots=True)
class _Identity:
    """What tells that endpoints have the same model.

    options: digest of what is sent beside the prompts, a system prompt among it
    version: of the weights, as the suite states it
    weights: digests of weights
    names:   of the model: requested ones, with the server, and returned ones
    """

    options: str
    version: str
    weights: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    @classmethod
    def of_endpoint(cls, endpoint_id: str) -> _Identity:
        named, _, version = without_series(endpoint_id).partition(WEIGHTS_VERSION_MARK)
        place, _, options = named.partition(_OPTIONS)
        return cls(options, version, names={place})

    def is_same_model(self, other: _Identity) -> bool:
        if self.options != other.options:
            return False
        if self.weights and other.weights:
            return not self.weights.isdisjoint(other.weights)
        is_same_version = self.version == other.version
        return is_same_version and not self.names.isdisjoint(other.names)


def _identities(
    ledger: Ledger,
    book: sa.ColumnElement[bool],
    *,
    until: float,
) -> Mapping[str, _Identity]:
    """Return the identity of each endpoint that a book's prompts were sent to."""
    identities: dict[str, _Identity] = {}
    for row in ledger.rows(_ANSWERED_BY.where(book)):
        name = row.endpoint
        identity = identities.setdefault(name, _Identity.of_endpoint(name))
        if row.first_end > until:
            continue
        if row.model:
            identity.names.add(row.model)
        weights = weights_digest(row.fingerprint)
        if weights:
            identity.weights.add(weights)
    return identities


_ANSWERED_BY = (
    sa.select(
        stored_prompts.c.endpoint,
        calls.c.model,
        calls.c.fingerprint,
        sa.func.min(call_end).label("first_end"),
    )
    .select_from(calls)
    .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
    .group_by(stored_prompts.c.endpoint, calls.c.model, calls.c.fingerprint)
)
