"""A language model with memory as one graph of torch, without a break, and with the same results.

In a process of its own: what checks shapes in tests cannot be traced.
"""

import subprocess
import sys

WORK = """
import torch
from torch.testing import assert_close
from sparsemeta.config import MemoryConfig
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel

memory = MemoryConfig(slots=64, active=4, heads=2, addressing="product", retention=True)
sizes = {"layers": 1, "width": 16, "heads": 2, "window": 8, "mlp_width": 32}
model = LanguageModel(ModelConfig(**sizes, memory_layers=(0,), memory=memory), 50)
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, std=0.2)
tokens = torch.randint(0, 50, (2, 13))
_, state = model(tokens)
state = state.detach()


def train(read):
    model.zero_grad()
    log_p, after = read(tokens[:, :-1], state, targets=tokens[:, 1:])
    log_p.mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    return log_p, after.tensors(), gradients


whole = torch.compile(model, backend="aot_eager", fullgraph=True)
assert_close(train(whole), train(model))
with torch.no_grad():
    for token in tokens[:, :3].split(1, dim=1):
        (one, after), (other, expected) = whole(token, state), model(token, state)
        assert_close((one, after.tensors()), (other, expected.tensors()))
"""


def test_training_and_reading_are_whole_graphs():
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
