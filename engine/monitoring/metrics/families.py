"""Functions that make metric families from plain numbers; label values follow the labels' order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from engine.monitoring.event import one_line
from engine.monitoring.histogram import Histogram

PREFIX = "rosey_llm_"
Labelled = Iterable[tuple[Sequence[str], float]]


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def gauges(name: str, text: str, labels: Sequence[str], values: Labelled) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(_harmless(label_values), value)
    return family


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """Return a counter; `name` is given without the suffix `_total`, which the page adds."""
    return CounterMetricFamily(PREFIX + name, text, value=value)


def counters(name: str, text: str, labels: Sequence[str], values: Labelled) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(_harmless(label_values), value)
    return family


def histogram(name: str, text: str, values: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(
        PREFIX + name, text, buckets=values.buckets(), sum_value=values.sum
    )


def histograms(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[Sequence[str], Histogram]],
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, each in values:
        family.add_metric(_harmless(label_values), buckets=each.buckets(), sum_value=each.sum)
    return family


def _harmless(values: Sequence[str]) -> list[str]:
    """Return label values that act on no terminal: a model's name is what its server says."""
    return [one_line(value) for value in values]
