"""Two processes that share the streams, or the weights too, learn what one does."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORK = """
import sys
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from sparsemeta import session, trainable_parameters
from tests.augmented.zoo import plain, stream

rank, kind, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
x, feedback = stream("encoder", batch=4)


def gradients(outer, model, x, feedback):
    with session(model, feedback=feedback) as s:
        outer(x)
        s.detach()
        outer(x).square().mean().backward()
    assert s.memory.batch == len(x)
    whole = lambda w: w.full_tensor() if hasattr(w, "full_tensor") else w
    return {n: whole(w.grad) for n, w in trainable_parameters(model).items()}


one, model = plain("encoder").train(), plain("encoder").train()
expected, outer = gradients(one, one, x, feedback), model
if kind == "ddp":
    outer = DistributedDataParallel(model)
else:
    for layer in model.layers:
        fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
mine = slice(2 * rank, 2 * rank + 2)
for name, gradient in gradients(outer, model, x[mine], feedback[mine]).items():
    torch.testing.assert_close(gradient, expected[name])
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_gradients_are_those_of_one_process(kind, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", WORK]
    begun = [
        subprocess.Popen(
            [*command, str(rank), kind, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    failed = [process.communicate()[1] for process in begun]
    assert [process.returncode for process in begun] == [0, 0], failed
