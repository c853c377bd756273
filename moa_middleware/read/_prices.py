"""
Estimates of what calls cost, from the list prices that the package genai-prices ships.

The package comes with the extra `prices` and is imported at the first call that needs an estimate: with
httpx2 and 1.6 MB of prices that takes about half a second. It can fetch newer prices, but only if its
`UpdatePrices` is started; this module builds a snapshot of the shipped prices and ignores any other, so
that an estimate is what the named version says, and nothing is asked of the network.

What is not certain is not estimated: a model that the table lacks, a price that it lacks, tokens that
were not reported. This module must not know views.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider

__all__ = ["Estimate", "PriceTable", "has_prices", "price_table"]

_IMITATED = frozenset({"openai", "anthropic", "litellm"})
"""SDKs that are pointed at servers of others: their names do not say who is paid."""
_SELLERS = {"openai": ("gpt-oss",), "anthropic": (), "google": ("gemma",), "x-ai": ()}
"""
Companies whose models, but for the named families, are sold under the same list price everywhere.

A gateway in front of them does not change the price. The weights of other models are open: on an
endpoint that the table lacks they may cost anything, or nothing on the user's own machine.
"""
_MOST = 4096
"""Combinations of endpoint and model that are remembered, so that a file with a million names takes no memory."""
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    What a call costs by a table of list prices.

    Attributes:
        usd: The price, in USD.
        provider: The seller whose price it is, by the table's id.
        model: The model, by the table's id.
        table: The table and its version: `genai-prices 0.2.3`.
    """

    usd: float
    provider: str
    model: str
    table: str


def has_prices() -> bool:
    """Return True if the extra `prices` is installed; nothing is imported."""
    return find_spec("genai_prices") is not None


@cache
def price_table() -> PriceTable | None:
    """Return the table of the installed package, `None` without the extra `prices`."""
    if not has_prices():
        return None
    try:
        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot

        name = f"genai-prices {version('genai-prices')}"
    except (ImportError, PackageNotFoundError):  # it, or something that it needs, is half installed
        return None
    return PriceTable(name, DataSnapshot(providers=providers, from_auto_update=False))


class PriceTable:
    """
    List prices of models, by their sellers.

    Args:
        name: The table's name and version.
        snapshot: The prices.
    """

    def __init__(self, name: str, snapshot: DataSnapshot) -> None:
        self.name = name
        self._snapshot = snapshot
        self._found: dict[tuple[str | None, ...], tuple[Provider, ModelInfo] | None] = {}
        self._rates: dict[int, tuple[ModelPrice, tuple[float, ...] | None]] = {}

    def estimate(
        self,
        *,
        endpoint: str | None,
        provider: str | None,
        models: Sequence[str | None],
        tokens: Sequence[int | None],
        at: float | None = None,
        tier: str | None = None,
    ) -> Estimate | None:
        """
        Return what a call costs, `None` if that is unknown.

        Args:
            endpoint: Base URL of the request.
            provider: Name of the SDK or the seller.
            models: Names of the model, the most exact one first.
            tokens: As in `TokenUsage`: in without cached ones, out, read from a cache, written to one, reasoning.
            at: When it was asked, in epoch seconds: prices change. `None` is now.
            tier: The service tier that the provider reported.
        """
        said, out = tokens[:2]
        if said is None or out is None or min(count or 0 for count in tokens) < 0:
            return None
        key = (endpoint, provider, *models)
        if key not in self._found:
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[key] = self._model(endpoint, provider, [name for name in models if name])
        found = self._found[key]
        if found is None:
            return None
        seller, model = found
        usd = self._price(model, seller, [count or 0 for count in tokens], _moment(at), tier)
        return None if usd is None else Estimate(usd, seller.id, model.id, self.name)

    def _model(
        self, endpoint: str | None, provider: str | None, models: Sequence[str]
    ) -> tuple[Provider, ModelInfo] | None:
        """Return who sold the call, and which model: the endpoint says so, else the provider, else the model."""
        seller = self._seller(url=endpoint) if endpoint else None
        if seller is None and provider and provider.lower() not in _IMITATED:
            seller = self._seller(name=provider)
        # What litellm routes itself has the seller's name in front: `groq/llama-3.3-70b-versatile`.
        routed = endpoint is None and provider == "litellm"
        for name in models:
            for one in (name, name.rpartition("models/")[2]):  # Gemini's API lists its models as `models/…`
                found = self._at_vendor(one, routed=routed) if seller is None else self._at(seller.id, one)
                if found is not None:
                    return found
        return None

    def _at_vendor(self, name: str, *, routed: bool) -> tuple[Provider, ModelInfo] | None:
        """Return a model by its name alone; `vendor/name` is how gateways write it."""
        vendor, slash, rest = name.partition("/")
        seller = self._seller(name=vendor if slash else None, model=name)
        bare = rest if slash else name
        if seller is not None and routed and slash:
            return self._at(seller.id, bare)
        if seller is None or seller.id not in _SELLERS:
            return None
        return None if bare.lower().startswith(_SELLERS[seller.id]) else self._at(seller.id, bare)

    def _seller(self, *, url: str | None = None, name: str | None = None, model: str | None = None) -> Provider | None:
        try:
            return self._snapshot.find_provider(None if url or name else model, name, url)
        except LookupError:
            return None

    def _at(self, seller: str, name: str) -> tuple[Provider, ModelInfo] | None:
        try:
            return self._snapshot.find_provider_model(name, None, seller, None)
        except LookupError:
            return None

    def _price(
        self, model: ModelInfo, seller: Provider, tokens: Sequence[int], when: datetime, tier: str | None
    ) -> float | None:
        # As in the package: the tiers of a model's vendor are not those of another seller of it.
        own = any(model is one for one in seller.models)
        context = {"service_tier": tier} if tier and model.price_variants and own else None
        price = model.get_prices(when, context)
        said, out, read, written, _ = tokens
        # A price that is missing counts as nothing in the package; here it is unknown.
        if (said + read + written and price.input_mtok is None) or (out and price.output_mtok is None):
            return None
        if context is None:
            if id(price) not in self._rates:
                self._rates[id(price)] = (price, _rates_of(price))
            rates = self._rates[id(price)][1]
            if rates is not None:
                return sum(count * rate for count, rate in zip(tokens, rates, strict=True)) / _MILLION
        try:
            return float(price.calc_price(_usage(tokens))["total_price"])
        except ValueError:  # more reasoning than output, for example
            return None


def _rates_of(price: ModelPrice) -> tuple[float, ...] | None:
    """
    Return the price of a million tokens of each kind, `None` where it is not the same for every number of them.

    The package takes about 100 microseconds a price. A run of a million calls has few models, and most
    prices are plain factors: those are asked of the package once.
    """
    from decimal import Decimal

    values = [value for value in price.__dict__.values() if value is not None]
    if price.requests_kcount is not None or price.output_reasoning_mtok is not None:
        return None
    if not all(isinstance(value, Decimal) for value in values):
        return None
    kinds = ([_MILLION if one == kind else 0 for one in range(5)] for kind in range(4))
    return (*(float(price.calc_price(_usage(kind))["total_price"]) for kind in kinds), 0.0)


def _usage(tokens: Sequence[int]) -> Any:
    """Return tokens as the package counts them: cached ones are a part of the input, reasoning one of the output."""
    from genai_prices import Usage

    said, out, read, written, reasoning = tokens
    return Usage(
        input_tokens=said + read + written,
        output_tokens=out,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_reasoning_tokens=min(reasoning, out),
    )


def _moment(at: float | None) -> datetime:
    try:
        return datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
