"""Against truth from elsewhere: the equations alone, and another library's gated delta rule."""

import pytest
import torch

from sparsemeta.ops import (
    Segment,
    dense_address,
    product_address,
    scan,
    signed_address,
    topk_address,
)
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

    same = torch.eye(keys).expand(heads, keys, keys)  # then the logits are the query itself
    write, read = (
        dense_address(x.transpose(1, 2), same).map(lambda part: part.transpose(1, 2))
        for x in (key, query)
    )
    segment = Segment(write, value, rate, log_retention, read)
    found, final = scan(segment, slots=keys, initial=initial, backend=backend)
    expected, expected_final = qwen.torch_recurrent_gated_delta_rule(
        query=read.weight * keys**0.5,  # it scales queries down by this
        key=write.weight,
        value=value,
        g=log_retention,
        beta=rate,
        initial_state=initial,
        output_final_state=True,
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(final, expected_final, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=["numba", "torch"])
def form(request, monkeypatch):
    """Both forms of what addresses are computed with."""
    if request.param == "torch":
        monkeypatch.setattr("sparsemeta.ops.compiled.installed", lambda name: False)


def queries_and_keys(slots, *, width=4, parts=()):
    g = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 5, width, generator=g, dtype=torch.float64, requires_grad=True)
    shape = (*parts, 3, slots, width // 2 if parts else width)
    return query, torch.randn(shape, generator=g, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("active", [1, 3, 7])
def test_topk_address_takes_the_best_slots(active, form):
    query, keys = queries_and_keys(7)
    index, weight = topk_address(query, keys, active)
    assert index.shape == weight.shape == (2, 3, 5, active)
    assert (weight > 0).all()
    torch.testing.assert_close(weight.norm(dim=-1), torch.ones(2, 3, 5, dtype=torch.float64))
    logits = query @ keys.mT
    chosen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, index, True)
    floor = logits.masked_fill(~chosen, float("inf")).min(-1).values
    assert (logits.masked_fill(chosen, float("-inf")).max(-1).values <= floor).all()
    expected = logits.gather(-1, index).exp()
    torch.testing.assert_close(weight, expected / expected.norm(dim=-1, keepdim=True))


@pytest.mark.parametrize("active", [1, 3, 7])
def test_signed_address_is_what_is_largest_of_the_dense_one(active, form):
    query, keys = queries_and_keys(7)
    (index, weight), (_, dense) = signed_address(query, keys, active), dense_address(query, keys)
    largest = dense.abs().sort(dim=-1, descending=True).values[..., :active]
    picked = dense.gather(-1, index)
    torch.testing.assert_close(picked.abs(), largest)
    torch.testing.assert_close(weight, picked / picked.norm(dim=-1, keepdim=True))
    opposite, opposed = signed_address(-query, keys, active)
    assert torch.equal(opposite, index)
    torch.testing.assert_close(opposed, -weight)


def test_addresses_are_differentiable(form):
    halves, whole = queries_and_keys(4, parts=(2,)), queries_and_keys(6)
    assert torch.autograd.gradcheck(lambda q, k: topk_address(q, k, 3)[1], whole)
    assert torch.autograd.gradcheck(lambda q, k: product_address(q, k, 3)[1], halves)
    assert torch.autograd.gradcheck(lambda q, k: signed_address(q, k, 3)[1], whole)
    assert torch.autograd.gradcheck(lambda q, k: dense_address(q, k)[1], whole)


@pytest.mark.parametrize(("side", "active"), [(6, 1), (6, 3), (6, 6), (6, 20), (6, 36), (77, 8)])
def test_product_address_is_the_exact_top(side, active, form):
    query, halves = queries_and_keys(side, parts=(2,))
    # Slot i S + j of the product has the left key i and the right key j.
    left, right = (x.expand(3, side, side, 2) for x in (halves[0, :, :, None], halves[1, :, None]))
    expected_index, expected = topk_address(
        query, torch.cat([left, right], -1).flatten(1, 2), active
    )
    index, weight = product_address(query, halves, active)
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(weight, expected)
    loss = torch.randn_like(weight)
    (found, wanted) = (
        torch.autograd.grad((x * loss).sum(), (query, halves)) for x in (weight, expected)
    )
    torch.testing.assert_close(found, wanted)


def test_a_search_in_parts_finds_the_same(form, monkeypatch):
    halves, whole = queries_and_keys(4, parts=(2,)), queries_and_keys(6)
    at_once = product_address(*halves, 3), topk_address(*whole, 3)
    monkeypatch.setattr("sparsemeta.ops.address.kinds.AT_ONCE", 60)  # 2 steps of 5, then 1
    in_parts = product_address(*halves, 3), topk_address(*whole, 3)
    for found, expected in zip(in_parts, at_once, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_product_address_of_equal_scores_or_of_none_names_slots(form):
    keys = torch.ones(2, 1, 4, 1)
    index, _ = product_address(torch.ones(1, 3, 2), keys, 16)
    assert index.sort().values.tolist() == [[list(range(16))] * 3]
    index, weight = product_address(torch.full((1, 3, 2), float("nan")), keys, 5)
    assert index.min() >= 0
    assert index.max() < 16
    assert weight.isnan().all()  # what is wrong stays to be seen


def test_what_training_saves_does_not_grow_with_the_slots(form):
    def saved(side):
        """Numbers kept for the backward pass, beyond the keys themselves."""
        query = torch.randn(1, 1, 50, 4, requires_grad=True)
        keys = torch.randn(2, 1, side, 2, requires_grad=True)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda _: None):
            product_address(query, keys, 4)
        return sum(x.numel() for x in kept if x.shape[-2:] != keys.shape[-2:])

    assert saved(8) == saved(64)
