"""The parts of which the costs of a model are made: weights, operations and memory. Imports no
TensorFlow.

Operations (FLOPs) are those of matrix products, two for each multiplication with its addition;
embedding lookups, normalizations, activations and softmaxes are left out, as is usual (Kaplan et
al. 2020, section 2.1). Each number of a matrix is used once a token, so a token's forward pass
takes `2 * matrix elements`, and attention adds `2 * context * (query-key width + value width)` for
all its heads. Training takes three times the forward pass: the backward pass makes two products,
one for the inputs' gradient and one for the weights', if the forward pass made one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

FLOAT32_BYTES = 4
BYTES = {"float32": 4, "mixed_bfloat16": 2}
BACKWARD_FACTOR = 2


class Weight(NamedTuple):
    """An array of a model.

    Attributes:
      shape: its dimensions.
      multiplied: False for tables that are looked up and for vectors that are added.
      trained: whether an optimizer moves it.
      element_bytes: size of a number in memory.
    """

    shape: tuple[int, ...]
    multiplied: bool = False
    trained: bool = True
    element_bytes: int = FLOAT32_BYTES

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Part(NamedTuple):
    """A named part of a model.

    Attributes:
      weights: all its arrays.
      flops: of the forward pass for one token of its side, at the context that the costs were asked
        for.
      activations: numbers kept for the backward pass for one token, about.
      side: `target` or `source`: whose tokens pass through it.
      frozen: whether its matrix stays as it is, so that the backward pass makes no product for its
        gradient.
    """

    name: str
    weights: tuple[Weight, ...]
    flops: int = 0
    activations: int = 0
    side: str = "target"
    frozen: bool = False

    @property
    def parameters(self) -> int:
        return sum(weight.size for weight in self.weights)


@dataclasses.dataclass(frozen=True)
class Costs:
    """The costs of a model.

    Attributes:
      parts: in the order in which a token passes them.
      cache: numbers that decoding keeps for one row: keys and values, or states and the memory of
        the source.
    """

    parts: tuple[Part, ...]
    cache: int

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    def forward_flops(self, side: str = "target") -> int:
        """FLOPs for one token of `side`: of a forward pass, and of one step of decoding with a
        cache.
        """
        return sum(part.flops for part in self.parts if part.side == side)

    def training_flops(self, side: str = "target") -> int:
        """FLOPs for one token of `side`, forward and backward."""
        return sum(
            (1 + BACKWARD_FACTOR - part.frozen) * part.flops
            for part in self.parts
            if part.side == side
        )

    def activations(self, side: str = "target") -> int:
        """Numbers kept for the backward pass for one token of `side`, about."""
        return sum(part.activations for part in self.parts if part.side == side)

    def weights(self) -> Iterable[Weight]:
        for part in self.parts:
            yield from part.weights

    def trained_weights(self) -> list[Weight]:
        """Those that have a gradient and a place in the optimizer."""
        return [weight for weight in self.weights() if weight.trained]

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights."""
        return sum(weight.element_bytes * weight.size for weight in self.weights())


def optimizer_numbers(optimizer: str, momentum: float, weights: Iterable[Weight]) -> int:
    """Numbers that an optimizer of `OptimizerConfig.name` keeps next to the weights."""
    if optimizer == "adafactor":  # a mean of each row and column
        return sum(
            w.size if len(w.shape) < 2 else w.size // w.shape[-1] + w.size // w.shape[-2]
            for w in weights
        )
    each: Mapping[str, int] = {"adamw": 2, "sgd": bool(momentum), "rmsprop": 1 + bool(momentum)}
    return each[optimizer] * sum(w.size for w in weights)


def product_part(
    name: str, shapes: Iterable[tuple[int, int]], *, bias: bool, side: str = "target"
) -> Part:
    """Matrix products, each with its bias: what they read and write is kept for the
    backward pass.
    """
    weights: list[Weight] = []
    for shape in shapes:
        weights += [Weight(shape, True), *([Weight(shape[1:])] if bias else [])]
    matrices = [weight for weight in weights if weight.multiplied]
    flops = 2 * sum(weight.size for weight in matrices)
    return Part(name, tuple(weights), flops, sum(sum(weight.shape) for weight in matrices), side)


def logits_part(width: int, vocabulary_size: int, tied: bool, bias: bool = False) -> Part:
    """The product with the vocabulary; a tied one shares the token embedding's table."""
    made = product_part("logits", [(width, vocabulary_size)], bias=bias)
    # The logits, their softmax and its gradient.
    return made._replace(
        weights=() if tied else made.weights, activations=width + 3 * vocabulary_size
    )


def together(name: str, parts: Iterable[Part], side: str = "target") -> Part:
    parts = list(parts)
    weights = tuple(weight for part in parts for weight in part.weights)
    return Part(name, weights, sum(p.flops for p in parts), sum(p.activations for p in parts), side)
