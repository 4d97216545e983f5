"""Against truth from elsewhere: the equations alone, and another library's gated delta rule."""

import pytest
import torch

from sparsemeta.ops import dense_address, product_address, scan, topk_address
from tests.ops.segments import segment


def from_the_equations(case):
    """Equations (3)-(5) on dense addresses, sharing no code with the package."""
    batch, time, heads, _ = case.value.shape
    shape = (batch, time, heads, case.slots)
    w = torch.zeros(shape, dtype=torch.float64)
    r, touched = w.clone(), w.clone()
    for b in range(batch):
        for t in range(time):
            for h in range(heads):
                for a, i in enumerate(case.write_index[b, t, h]):
                    w[b, t, h, i] += case.write_weight[b, t, h, a]
                    touched[b, t, h, i] = 1
                for a, i in enumerate(case.read_index[b, t, h]):
                    r[b, t, h, i] += case.read_weight[b, t, h, a]
    memory, reads = case.initial.clone(), []
    for t in range(time):
        memory[case.reset[:, t]] = 0
        keep = (touched[:, t] * case.log_retention[:, t, :, None]).exp()
        kept = torch.einsum("bhn,bhnv->bhnv", keep, memory)
        recalled = torch.einsum("bhn,bhnv->bhv", w[:, t], kept)
        error = case.value[:, t] - (recalled if case.rule == "delta" else 0)
        written = kept + torch.einsum("bhn,bh,bhv->bhnv", w[:, t], case.rate[:, t], error)
        memory[case.mask[:, t]] = written[case.mask[:, t]]
        reads.append(torch.einsum("bhn,bhnv->bhv", r[:, t], memory))
    return torch.stack(reads, 1), memory


@pytest.mark.parametrize("rule", ["delta", "hebbian"])
@pytest.mark.parametrize("backend", ["reference", "chunked", "native"])
def test_scan_is_what_the_equations_say(backend, rule):
    case = segment(time=40, active=4, slots=9, rule=rule)
    read, final = case.scan(backend=backend, chunk=16)
    expected_read, expected_final = from_the_equations(case)
    real = case.mask
    torch.testing.assert_close(read[real], expected_read[real], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(final, expected_final, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["chunked", "native"])
def test_a_dense_address_is_the_gated_delta_rule(backend):
    """Every slot addressed at every step: what `transformers` calls the gated delta rule."""
    qwen = pytest.importorskip(
        "transformers.models.qwen3_next.modeling_qwen3_next",
        reason="transformers is not installed",
    )
    g = torch.Generator().manual_seed(0)
    batch, time, heads, keys, width = 2, 100, 3, 16, 8
    key, query = torch.randn(2, batch, time, heads, keys, generator=g)
    value = torch.randn(batch, time, heads, width, generator=g)
    rate = torch.rand(batch, time, heads, generator=g)
    log_retention = -torch.rand(batch, time, heads, generator=g)
    initial = torch.randn(batch, heads, keys, width, generator=g)

    write, read = dense_address(key), dense_address(query)
    found, final = scan(
        *write, value, rate, log_retention, *read, slots=keys, initial=initial, backend=backend
    )
    expected, expected_final = qwen.torch_recurrent_gated_delta_rule(
        query=read[1] * keys**0.5,  # it scales queries down by this
        key=write[1],
        value=value,
        g=log_retention,
        beta=rate,
        initial_state=initial,
        output_final_state=True,
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(final, expected_final, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("active", [1, 3, 7])
def test_topk_address_takes_the_best_slots(active):
    logits = torch.randn(5, 2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    index, weight = topk_address(logits, active)
    assert index.shape == weight.shape == (5, 2, active)
    assert (weight > 0).all()
    torch.testing.assert_close(weight.norm(dim=-1), torch.ones(5, 2, dtype=torch.float64))
    chosen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, index, True)
    floor = logits.masked_fill(~chosen, float("inf")).min(-1).values
    assert (logits.masked_fill(chosen, float("-inf")).max(-1).values <= floor).all()


def test_addresses_are_differentiable():
    logits = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: topk_address(x, 3)[1], logits)
    assert torch.autograd.gradcheck(lambda x: dense_address(x)[1], logits)


@pytest.mark.parametrize("active", [1, 3, 6, 20])
def test_product_address_is_the_exact_top(active):
    g = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 50, 6, generator=g, dtype=torch.float64)
    index, weight = product_address(first, second, active)
    sums = (first[:, :, None] + second[:, None, :]).flatten(1)
    expected_index, expected_weight = topk_address(sums, active)
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(weight, expected_weight)
