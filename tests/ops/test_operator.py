"""The update in a graph that torch traces: one operator, whole graphs, the same results."""

import pytest
import torch

from sparsemeta.ops import scan
from sparsemeta.ops.update.inplace import inputs_of
from tests.ops.segments import run, segment, worst_error


@pytest.mark.parametrize("rule", ["delta", "hebbian"])
def test_is_a_well_behaved_operator(rule):
    case = segment(batch=1, time=3, heads=1, width=2, slots=4, rule=rule)
    given = [x.clone() for x in inputs_of(case.segment)]
    for x in given:
        x.requires_grad_(x.is_floating_point())
    rows = case.initial.clone().requires_grad_()
    torch.library.opcheck(torch.ops.sparsemeta.scan.default, ("native", rule, given, rows))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch does
@pytest.mark.parametrize(
    ("backend", "slots", "resets"),
    [("auto", 6, 0.2), ("native", 200, 0.2), ("native", 200, 0.0), ("chunked", 6, 0.0)],
)
def test_a_whole_graph_gives_what_the_loop_does(backend, slots, resets):
    case = segment(batch=1, time=5, heads=1, slots=slots, resets=resets)
    torch.compiler.reset()
    whole = torch.compile(scan, backend="aot_eager", fullgraph=True)
    found = run(case, scan=whole, backend=backend)
    assert worst_error(found, run(case, backend="reference")) < 1e-10
