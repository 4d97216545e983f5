from .benchmark import Benchmark as Benchmark
from .curves import RECOVERY as RECOVERY, RETENTION as RETENTION, Curve as Curve
from .models import Form as Form, Network as Network, forms as forms
from .plots import plot as plot
from .registry import BENCHMARKS as BENCHMARKS, MODELS as MODELS, Entry as Entry
from .report import (
    Findings as Findings,
    chosen as chosen,
    summary as summary,
    sweep as sweep,
    table as table,
    tolerance as tolerance,
)
from .running import run as run
