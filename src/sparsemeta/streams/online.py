"""Learning example by example, as River and scikit-learn do it, by a forward pass alone.

A `StreamLearner` that was trained to learn is given your stream; its weights never change.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from sparsemeta.errors import CheckpointError, StateError, StreamError, installed, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.files import check_folder, write_folder
from sparsemeta.nn import StreamLearner, StreamState

# What JSON that is none, or of something else, raises on its way to tensors.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, RuntimeError, CheckpointError)


class OnlineState(NamedTuple):
    """What an `OnlineLearner` has learned: a value, to be kept, forked and restored."""

    stream: StreamState
    labels: tuple[Hashable, ...] = ()  # met so far, in the order in which they appeared


class OnlineLearner(ABC):
    """What `OnlineClassifier` and `OnlineRegressor` have in common.

    An example counts from the moment it is learned: the next prediction knows it. Predicting
    changes nothing, however often it is done.

    Args:
        model: a trained network, which is put into evaluation mode.
        features: what the entries of an example that is a dictionary are called, in the order in
            which the model takes them; one that is missing is 0, others are ignored. None takes
            all entries, in alphabetical order.
    """

    kind: ClassVar[str]
    river_base: ClassVar[str]  # of `river.base`
    _supervised = True  # River asks

    def __init__(self, model: StreamLearner, features: Sequence[str] | None = None):
        name, kind = type(self).__name__, self.kind
        require(
            model.kind == kind,
            f"{name} needs a StreamLearner of {kind}, and this one is of {model.kind}. Use the "
            "other of OnlineClassifier and OnlineRegressor.",
        )
        self.model, self.features = model.eval(), features
        self.state = OnlineState(model.initial_state(1))
        if installed("river"):  # its metrics accept only what counts as one of its own kinds
            getattr(import_module("river.base"), self.river_base).register(type(self))

    def learn_one(self, x: Any, y: Any) -> None:
        """Learn that x, an array as the model takes it or a dictionary of features, is y.

        Raises:
            StreamError: y is one label more than the model can tell apart; nothing was learned.
        """
        self.partial_fit([x], [y])

    def predict_one(self, x: Any) -> Any:
        """The most probable label of one example, None before any was learned; or its value."""
        return self.predict([x])[0]

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """The same of each example, each by itself."""

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Learn examples one after the other; the same as `learn_one` for each."""
        feedback, labels = self._feedback(y)
        _, stream = self._forward(X, feedback)
        self.state = OnlineState(stream, labels)
        return self

    def save(self, path: str | Path) -> None:
        """Write what was learned into a folder, which is replaced; labels are text or numbers."""
        (memory, feedback, taught), labels = self.state
        for label in labels:
            if not isinstance(label, str | int | float | None):
                raise StateError(
                    f"the label {label!r} is neither text nor a number, so it cannot be saved. "
                    "Learn with names of your labels instead."
                )
        about = {"labels": labels, "feedback": feedback.tolist(), "taught": taught.tolist()}
        with write_folder(Path(path)) as folder:
            memory.save(folder / "memory.safetensors", self.model)
            (folder / "learner.json").write_text(json.dumps(about), encoding="utf-8")

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote; StateError if that is damaged or of another model."""
        now, folder, file = self.state.stream, Path(path), Path(path) / "learner.json"
        memory = FastWeights.load(folder / "memory.safetensors", self.model)
        try:
            check_folder(folder)
            about = json.loads(file.read_text(encoding="utf-8"))
            feedback = now.feedback.new_tensor(about["feedback"]).view(now.feedback.shape)
            taught = now.taught.new_tensor(about["taught"]).view(now.taught.shape)
            labels = tuple(about["labels"])
        except UNREADABLE as why:
            raise StateError(
                f"{file}: damaged or not what a learner has saved ({why}). Restore the folder "
                "from a copy, or begin anew."
            ) from None
        self.state = OnlineState(StreamState(memory.to(taught.device), feedback, taught), labels)

    @torch.no_grad()
    def _forward(self, X: Any, feedback: Tensor | None = None) -> tuple[Tensor, StreamState]:
        """What the model says of examples, (n, outputs), each by itself if nothing is fed back."""
        now, taught = self.state.stream, feedback is not None
        inputs = torch.as_tensor(np.stack([self._row(x) for x in X]), dtype=torch.float32)
        if feedback is None:
            feedback = now.feedback.new_zeros(len(inputs), *now.feedback.shape[1:])
        told = now.taught.new_full((1, len(inputs)), taught)
        predicted, state = self.model(inputs[None].to(told.device), feedback[None], told, now)
        return predicted[0], state

    def _row(self, x: Any) -> np.ndarray:
        if not isinstance(x, Mapping):
            return np.asarray(x)
        names = sorted(x) if self.features is None else self.features
        return np.array([float(x.get(name, 0)) for name in names])

    @abstractmethod
    def _feedback(self, y: Any) -> tuple[Tensor, tuple[Hashable, ...]]:
        """What the model is shown, (n, ..), and the labels met by then."""


class OnlineClassifier(OnlineLearner):
    """Tells labels apart, of any hashable kind, that appear while it runs.

    Only labels that were learned are ever predicted.

    >>> from sparsemeta.config import MemoryConfig
    >>> learner = OnlineClassifier(StreamLearner(2, MemoryConfig(slots=64), outputs=100))
    >>> learner.predict_one([0.5, 1.0])
    >>> learner.learn_one([0.5, 1.0], "red")
    >>> learner.predict_one({"x": 0.5, "y": 1.0})
    'red'
    """

    kind = "labels"
    river_base = "Classifier"

    def predict_proba_one(self, x: Any) -> dict[Hashable, float]:
        """The probability of each label learned so far."""
        return dict(zip(self.state.labels, self._probabilities([x])[0].tolist(), strict=True))

    @override
    def predict(self, X: Any) -> list[Hashable | None]:
        if not self.state.labels:
            return [None] * len(X)
        return [self.state.labels[best] for best in self._probabilities(X).argmax(-1).tolist()]

    def _probabilities(self, X: Any) -> Tensor:
        return self._forward(X)[0][:, : len(self.state.labels)].softmax(-1)

    def _feedback(self, y: Any) -> tuple[Tensor, tuple[Hashable, ...]]:
        named = [label.item() if isinstance(label, np.generic | Tensor) else label for label in y]
        labels, most = tuple(dict.fromkeys((*self.state.labels, *named))), self.model.outputs
        if len(labels) > most:
            raise StreamError(
                f"{labels[most]!r} is label number {most + 1}, but this model tells {most} apart. "
                "Train one with more outputs."
            )
        index = {label: number for number, label in enumerate(labels)}
        device = self.state.stream.taught.device
        return torch.tensor([index[label] for label in named], device=device), labels


class OnlineRegressor(OnlineLearner):
    """Approximates values: numbers, or arrays of the model's outputs."""

    kind = "values"
    river_base = "Regressor"

    @override
    def predict(self, X: Any) -> np.ndarray:
        """The value of each example by itself: (n,), or (n, W) if values have several."""
        values = self._forward(X)[0]
        return (values.squeeze(-1) if self.model.outputs == 1 else values).cpu().numpy()

    def _feedback(self, y: Any) -> tuple[Tensor, tuple[Hashable, ...]]:
        values = self.state.stream.feedback.new_tensor(np.asarray(y, dtype=float))
        return values.view(len(values), self.model.outputs), ()
