from .benchmark import (
    RECOVERY as RECOVERY,
    RETENTION as RETENTION,
    Benchmark as Benchmark,
    Curve as Curve,
    Form as Form,
    Network as Network,
    forms as forms,
)
from .findings import (
    Findings as Findings,
    chosen as chosen,
    plot as plot,
    summary as summary,
    sweep as sweep,
    table as table,
    tolerance as tolerance,
)
from .registry import BENCHMARKS as BENCHMARKS, MODELS as MODELS, Entry as Entry
from .running import run as run
