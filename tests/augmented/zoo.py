"""Networks of every kind, with tiny random weights in float64, and inputs for them."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from torch import nn

from sparsemeta import MemoryConfig, augment, memories
from sparsemeta.config import RowsConfig, TablesConfig
from tests.tiny import draw_zeros

VOCABULARY, WIDTH = 40, 16
MEMORY = MemoryConfig(slots=16, active=2, heads=2, key_width=4, value_width=4)
ROWS = RowsConfig(half_lives=(20.0, 0.0), key_width=4)
TABLES = TablesConfig(orders=(0, 1, 2), fading_orders=(1,), fading=(0.8,), bytes=())
FAMILIES = ("GPT2", "Llama", "Qwen2", "Mistral", "GPTNeoX")


class Recurrent(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.lstm = nn.LSTM(5, 8, **options)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).mean((2, 3)))


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


PLAIN = {  # how it is made, its targets, and the shape of a step of its input
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), "0", (5,)),
    "conv": (Images, "second", (1, 6, 6)),
    "lstm": (lambda: Recurrent(batch_first=True), nn.LSTM, (None, 5)),
    "encoder": (encoder, None, (None, 8)),
}
"""Where the shape begins with None, streams and steps have axes of their own."""


def plain(name, *, drawn=True, seed=1):
    """An augmented network without language, whose feedback is 2 wide."""
    torch.manual_seed(seed)
    make, targets, _ = PLAIN[name]
    model = augment(make().double().eval(), MEMORY, targets=targets, feedback=2)
    if drawn:
        draw_zeros(memories(model), 0.5)
    return model


def stream(name, batch=2, time=6, seed=0):
    """Inputs (B, T, ...) and feedback (B, T, 2)."""
    generator = torch.Generator().manual_seed(seed)
    shape = [size for size in PLAIN[name][2] if size]
    x = torch.randn(batch, time, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randn(batch, time, 2, generator=generator, dtype=torch.float64)


def call(model, name, x):
    """Call a plain network with inputs (B, T, ...): what it returns, (B, T, D)."""
    apart = PLAIN[name][2][0] is None
    return model(x) if apart else model(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def base_lm(family, seed=3, **others):
    """A causal language model of transformers, in float64."""
    import transformers

    torch.manual_seed(seed)
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.6,
    }
    if family == "GPT2":
        sizes = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": 2, "n_head": 2}
        sizes |= {"n_positions": 128, "initializer_range": 0.6}
        sizes |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    if family == "GPTNeoX":
        del sizes["num_key_value_heads"]
    if family == "Mistral":
        sizes["sliding_window"] = 8
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    config = getattr(transformers, f"{family}Config")(**sizes | ids | others)
    kind = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    return getattr(transformers, kind)(config).double().eval()


def block(family):
    """The name of its second block."""
    return {"GPT2": "transformer.h.1", "GPTNeoX": "gpt_neox.layers.1"}.get(family, "model.layers.1")


def lm(family="Llama", *, drawn=True, output=(ROWS, TABLES), **others):
    """The same with every kind of memory, none of whose weights is zero."""
    base = base_lm(family, **others)
    model = augment(base, MEMORY, targets=block(family), output=output)
    if drawn:
        draw_zeros(memories(model), 0.8)
    return model


def text(batch=3, time=14, seed=0):
    return torch.randint(
        0, VOCABULARY, (batch, time), generator=torch.Generator().manual_seed(seed)
    )
