"""Before it is trained, the cache of a table memory is the neural cache it is compared with."""

import torch

from sparsemeta.config import TablesConfig
from sparsemeta.lm.evaluation.learners import NeuralCache
from sparsemeta.nn import StateCache
from sparsemeta.nn.pending import Pending, nothing
from sparsemeta.nn.state_cache import SHARPNESS

SIZE, WIDTH, CLASSES = 12, 6, 5


def test_untrained_it_is_the_usual_neural_cache():
    cache = StateCache(WIDTH, CLASSES, TablesConfig(cache=SIZE)).double()
    g = torch.Generator().manual_seed(0)
    came = torch.randint(CLASSES, (1, 31), generator=g)
    hidden = torch.randn(1, 30, WIDTH, generator=g, dtype=torch.float64)
    usual, held, states = NeuralCache(SIZE), cache.initial_state(1), cache.states(hidden)
    none = hidden[..., :0]
    pending = nothing(Pending(torch.zeros(1, 1, CLASSES), none, none.long(), none, states))
    for cut in (slice(0, 7), slice(7, 8), slice(8, 30)):
        now, then = came[:, cut], came[:, cut.start + 1 : cut.stop + 1]
        options = {"targets": then, "steps": 0, "donate": False}
        said, held = cache(states[:, cut], now, held, pending, (None,) * 3, **options)
        matched, tokens = usual.match(hidden[0, cut], then[0], SHARPNESS)
        expected = (matched * (tokens == then[0][:, None])).sum(-1)
        torch.testing.assert_close(said.target[0].float(), expected, atol=1e-5, rtol=1e-4)
        usual.learn(expected, hidden[0, cut], then[0])
        pending = pending._replace(log_p=torch.zeros(1, CLASSES), state=states[:, cut.stop - 1])
