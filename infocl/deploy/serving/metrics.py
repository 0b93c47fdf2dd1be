"""Figures of a running server for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server, in a registry of their own, beside memory and CPU time of its process."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "infocl_requests", "Answered requests for embeddings", ["transport", "status"], registry=registry
        )
        self.seconds = Histogram(
            "infocl_request_seconds",
            "From a request's head to its answer",
            buckets=SECONDS,
            registry=registry,
        )
        self.network = Histogram(
            "infocl_network_seconds", "One run of the network", buckets=SECONDS, registry=registry
        )
        self.batch = Histogram(
            "infocl_batch_images", "Images of one run of the network", buckets=IMAGES, registry=registry
        )
        self.inside = Gauge("infocl_requests_inside", "Requests read, waiting or embedded", registry=registry)
        self.held = Gauge("infocl_bytes_held", "Bytes of the bodies of these requests", registry=registry)
