"""What is counted, for Prometheus; of no user, and of no text."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sparsemeta.serve.engine import Event, Read, Wrote

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """The counters of one server.

    Args:
        waiting: how many tasks the engine has.
    """

    def __init__(self, waiting: Callable[[], int]):
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "sparsemeta_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "sparsemeta_request_seconds",
            "From a request to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        tokens = Counter(
            "sparsemeta_tokens", "Tokens, read or written.", ["how"], registry=registry
        )
        self._read, self._wrote = tokens.labels("read"), tokens.labels("written")
        tasks = Gauge("sparsemeta_tasks", "Streams that read or write now.", registry=registry)
        tasks.set_function(waiting)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def told(self, event: Event) -> None:
        """The engine has told something."""
        if isinstance(event, Read):
            self._read.inc(len(event.tokens))
        elif isinstance(event, Wrote):
            self._wrote.inc()

    def show(self) -> bytes:
        """All, as Prometheus reads it."""
        return generate_latest(self._registry)
