"""Recurrent layers whose loop multiplies only by the recurrent kernel.

The products of the inputs with the input kernel are one matrix product of all steps before the
loop; the loop is one `tf.while_loop` (`scan`) that carries the state and nothing else, over static
or dynamic T, with and without XLA. A padded step leaves the state as it was, so right padding
(sources) and left padding (prompts) never change a result, in either direction. A reset puts zeros
in the state's place, so texts that share a row do not know of each other.

Under mixed bfloat16 the operands of the products are bfloat16, while states, gates and sums over
time stay float32: the layers switch Keras' casting of arguments off and cast what they multiply
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import keras
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.projection import fold_seed

RecurrentState = tuple[tf.Tensor, ...]


class RecurrentWeights(NamedTuple):
    """The kernels by which a cell multiplies its state.

    Attributes:
      kernel: `[D, G * D]`, the G gates next to each other, in the dtype of the products.
      bias: `[G * D]` in the dtype of the state, or None for a cell that adds none to its recurrent
        product.
      mask: `[B, D]` in the dtype of the state, what dropout multiplies the hidden state by, or
        None.
    """

    kernel: tf.Tensor
    bias: tf.Tensor | None
    mask: tf.Tensor | None = None

    def product(self, hidden: tf.Tensor) -> tf.Tensor:
        """The recurrent product `[B, G * D]` of the hidden state `[B, D]`."""
        made = product(hidden if self.mask is None else hidden * self.mask, self.kernel)
        return made if self.bias is None else made + self.bias


class Cell(Protocol):
    """The mathematics of one step; holds no weights. A new cell is one such class and one line in
    `CELLS`.

    Attributes:
      gates: names of the blocks `[D]` of the kernels and biases, in their order.
      bounded: for each tensor of the state whether it lies in [-1, 1]; the first one is the hidden
        state, the output.
      initial_bias: initial values other than 0 of the biases, by gate.
      recurrent_bias: whether the recurrent product has a bias of its own, next to the one of the
        inputs.
    """

    gates: ClassVar[tuple[str, ...]]
    bounded: ClassVar[tuple[bool, ...]]
    initial_bias: ClassVar[dict[str, float]]
    recurrent_bias: ClassVar[bool]

    def step(
        self, inputs: tf.Tensor, state: RecurrentState, weights: RecurrentWeights
    ) -> RecurrentState:
        """The next state from the projected inputs `[B, G * D]`, bias included, and the state, each
        `[B, D]`.
        """
        ...


class LSTMCell:
    """Long short-term memory; gates in the order input, forget, cell, output, as in Keras.

    The forget gate's bias begins at 1 so that a new cell remembers (Jozefowicz et al. 2015, section
    5).

    Reference: Hochreiter and Schmidhuber 1997; with forget gates Gers et al. 2000.
    """

    gates: ClassVar[tuple[str, ...]] = ("input", "forget", "cell", "output")
    bounded: ClassVar[tuple[bool, ...]] = (True, False)
    initial_bias: ClassVar[dict[str, float]] = {"forget": 1.0}
    recurrent_bias: ClassVar[bool] = False

    def step(
        self, inputs: tf.Tensor, state: RecurrentState, weights: RecurrentWeights
    ) -> RecurrentState:
        hidden, carry = state
        gates = tf.split(inputs + weights.product(hidden), 4, axis=-1)
        carry = tf.sigmoid(gates[1]) * carry + tf.sigmoid(gates[0]) * tf.tanh(gates[2])
        return tf.sigmoid(gates[3]) * tf.tanh(carry), carry


class GRUCell:
    """Gated recurrent unit; gates in the order update, reset, candidate, as in Keras.

    The reset gate acts on the recurrent product of the candidate, its bias included, if the
    paper has it act on the
    state before that product: then one product of the state serves all gates. It is the variant of
    cuDNN and of `keras.layers.GRU` (`reset_after=True`).

    Reference: Cho et al. 2014, section 2.3.
    """

    gates: ClassVar[tuple[str, ...]] = ("update", "reset", "candidate")
    bounded: ClassVar[tuple[bool, ...]] = (True,)
    initial_bias: ClassVar[dict[str, float]] = {}
    recurrent_bias: ClassVar[bool] = True

    def step(
        self, inputs: tf.Tensor, state: RecurrentState, weights: RecurrentWeights
    ) -> RecurrentState:
        (hidden,) = state
        input_update, input_reset, input_candidate = tf.split(inputs, 3, axis=-1)
        own_update, own_reset, own_candidate = tf.split(weights.product(hidden), 3, axis=-1)
        candidate = tf.tanh(input_candidate + tf.sigmoid(input_reset + own_reset) * own_candidate)
        return (candidate + tf.sigmoid(input_update + own_update) * (hidden - candidate),)


class SimpleRNNCell:
    """The hyperbolic tangent of two products.

    Reference: Elman 1990.
    """

    gates: ClassVar[tuple[str, ...]] = ("hidden",)
    bounded: ClassVar[tuple[bool, ...]] = (True,)
    initial_bias: ClassVar[dict[str, float]] = {}
    recurrent_bias: ClassVar[bool] = False

    def step(
        self, inputs: tf.Tensor, state: RecurrentState, weights: RecurrentWeights
    ) -> RecurrentState:
        return (tf.tanh(inputs + weights.product(state[0])),)


CELLS: dict[str, Cell] = {"lstm": LSTMCell(), "gru": GRUCell(), "simple_rnn": SimpleRNNCell()}


def find_cell(name: str) -> Cell:
    """The cell of that name; `UserError` if there is none."""
    if name not in CELLS:
        raise UserError(f"recurrent cell {name!r}: expected one of {', '.join(CELLS)}")
    return CELLS[name]


def product(vectors: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`vectors @ kernel`, `[B, D] x [D, E]`: multiplied in the kernel's dtype, returned in that of
    the vectors.
    """
    return tf.cast(tf.matmul(tf.cast(vectors, kernel.dtype), kernel), vectors.dtype)


def zero_state(
    cell: Cell, batch: tf.Tensor | int, units: int, dtype: Any = tf.float32
) -> RecurrentState:
    """The state before the first token: zeros, one `[batch, units]` for each tensor of the cell's
    state.
    """
    return tuple(tf.zeros([batch, units], dtype) for _ in cell.bounded)


def scan(
    step: Callable[[tf.Tensor, RecurrentState], RecurrentState],
    state: RecurrentState,
    inputs: tf.Tensor,
    *,
    padding_mask: tf.Tensor | None = None,
    resets: tf.Tensor | None = None,
    reverse: bool = False,
    record: Sequence[int] = (0,),
) -> tuple[tuple[tf.Tensor, ...], RecurrentState]:
    """Applies `step` along the first axis of `inputs`.

    Args:
      step: makes the next state from `inputs[t]` `[B, E]` and the state; weights are read before,
        outside the loop.
      state: the first state, a tuple of `[B, ?]`.
      inputs: `[T, B, E]`; T may be 0 and may be unknown when traced (XLA: then not 0).
      padding_mask: `[T, B]` bool, False if a padded step has to leave the state as it is; None if
        no step is padded.
      resets: `[T, B]` bool, True if the state becomes zeros before the step; None if it never
        does.
      reverse: begin at the last step. With right padding the state waits there, as if each row had
        been reversed within its own length.
      record: which tensors of the state are returned for all steps.

    Returns:
      for each index in `record` the states after every step `[T, B, ?]`, at a padded step the one
      carried over; and the last state.
    """
    steps = tf.shape(inputs)[0] if inputs.shape[0] is None else inputs.shape[0]

    def advance(
        row: tf.Tensor, keep: tf.Tensor | None, reset: tf.Tensor | None, old: RecurrentState
    ) -> RecurrentState:
        if reset is not None:
            old = tuple(tf.where(reset, tf.zeros_like(before), before) for before in old)
        new = step(row, old)
        if keep is not None:
            new = tuple(
                tf.where(keep, after, before) for after, before in zip(new, old, strict=True)
            )
        for after, before in zip(new, old, strict=True):
            after.set_shape(before.shape)
        return new

    if isinstance(steps, int) and steps == 0:
        return tuple(state[i][None][:0] for i in record), state
    if isinstance(steps, int) and steps == 1:
        keep, reset = (
            None if flags is None else flags[0][:, None] for flags in (padding_mask, resets)
        )
        state = advance(inputs[0], keep, reset, state)
        return tuple(state[i][None] for i in record), state

    rows = tf.TensorArray(inputs.dtype, size=steps).unstack(inputs)
    keeps, zeroed = (
        None if flags is None else tf.TensorArray(tf.bool, size=steps).unstack(flags[:, :, None])
        for flags in (padding_mask, resets)
    )

    def body(t: tf.Tensor, state: RecurrentState, records: tuple) -> tuple:
        at = steps - 1 - t if reverse else t
        keep, reset = (None if array is None else array.read(at) for array in (keeps, zeroed))
        state = advance(rows.read(at), keep, reset, state)
        return (
            t + 1,
            state,
            tuple(array.write(at, state[i]) for array, i in zip(records, record, strict=True)),
        )

    # One slot more than steps, holding the first state, gives `stack` the shape of an element when
    # T proves to be 0.
    records = tuple(
        tf.TensorArray(state[i].dtype, size=steps + 1).write(steps, state[i]) for i in record
    )
    loop = (tf.constant(0), state, records)
    _, state, records = tf.while_loop(lambda t, *_: t < steps, body, loop, maximum_iterations=steps)
    return tuple(array.stack()[:-1] for array in records), state


class PerGate:
    """Initializer that draws the `[I, D]` block of each gate on its own, with the fans of that
    block.
    """

    def __init__(
        self, initializer: Callable[..., Any], gates: Sequence[str], seed: int | None
    ) -> None:
        self._blocks = [initializer(seed=fold_seed(seed, gate)) for gate in gates]

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        block = (*shape[:-1], shape[-1] // len(self._blocks))
        return tf.concat([draw(block, dtype) for draw in self._blocks], axis=-1)


class PerGateConstant:
    """Initializer of a bias: one constant for each gate, 0 where none is given."""

    def __init__(self, gates: Sequence[str], values: dict[str, float]) -> None:
        self._values = [values.get(gate, 0.0) for gate in gates]

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        return tf.cast(tf.repeat(self._values, shape[-1] // len(self._values)), dtype)


class RecurrentKernels(keras.layers.Layer):
    """The weights of one recurrent layer: what `Recurrent` and layers with more in their loop have
    in common.

    Args:
      units: width D of the hidden state.
      cell: a name in `CELLS`.
      seed: of the initial weights. Input kernels begin Glorot uniform, recurrent ones orthogonal so
        that the state keeps its norm through time (Saxe et al. 2014), each gate on its own.
      **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    The weights `kernel` `[I, G * D]`, `recurrent_kernel` `[D, G * D]` and `bias` `[G * D]` of an
    LSTM have the layout of `keras.layers.LSTM`.
    """

    def __init__(
        self, units: int, *, cell: str = "lstm", seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self.cell = find_cell(cell)
        self.seed = seed

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        gates = self.cell.gates
        width = len(gates) * self.units
        self.kernel = self.add_weight(
            shape=(inputs_shape[-1], width),
            initializer=PerGate(
                keras.initializers.GlorotUniform, gates, fold_seed(self.seed, "kernel")
            ),
            name="kernel",
            autocast=False,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width),
            initializer=PerGate(
                keras.initializers.Orthogonal, gates, fold_seed(self.seed, "recurrent_kernel")
            ),
            name="recurrent_kernel",
            autocast=False,
        )
        bias = PerGateConstant(gates, self.cell.initial_bias)
        self.bias = self.add_weight(shape=(width,), initializer=bias, name="bias", autocast=False)
        self.recurrent_bias = None
        if self.cell.recurrent_bias:
            self.recurrent_bias = self.add_weight(
                shape=(width,), initializer="zeros", name="recurrent_bias", autocast=False
            )

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        """The products of all steps with the input kernel, bias added: `[B, T, I]` -> `[T, B, G *
        D]`.
        """
        kernel = tf.cast(self.kernel, self.compute_dtype)
        steps_first = tf.transpose(tf.cast(inputs, self.compute_dtype), [1, 0, 2])
        return tf.cast(tf.tensordot(steps_first, kernel, 1), self.variable_dtype) + self.bias

    def recurrent_weights(self, mask: tf.Tensor | None = None) -> RecurrentWeights:
        """The weights a cell multiplies in the loop, read and cast once, before it; `mask` as in
        `RecurrentWeights`.
        """
        kernel = tf.cast(self.recurrent_kernel, self.compute_dtype)
        bias = None if self.recurrent_bias is None else tf.convert_to_tensor(self.recurrent_bias)
        return RecurrentWeights(kernel, bias, mask)


@keras.saving.register_keras_serializable("tf_textgen")
class Recurrent(RecurrentKernels):
    """One recurrent layer in one direction.

    Args:
      units, cell, seed, **kwargs: as for `RecurrentKernels`.
      reverse: read from the last step to the first.
      recurrent_dropout: share of the hidden state's units that the recurrent product does not see
        in training, the same ones at every step of a row: other ones at each step would wipe out
        what is to be remembered (Gal and Ghahramani 2016, section 4).
    """

    def __init__(
        self, units: int, *, reverse: bool = False, recurrent_dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(units, **kwargs)
        self.reverse = reverse
        self.recurrent_dropout = None
        if recurrent_dropout:
            seed = fold_seed(self.seed, "recurrent_dropout")
            self.recurrent_dropout = Dropout(
                recurrent_dropout, seed=seed, name="recurrent_dropout", dtype=self.variable_dtype
            )

    def call(
        self,
        inputs: tf.Tensor,
        initial_state: RecurrentState | None = None,
        padding_mask: tf.Tensor | None = None,
        resets: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, RecurrentState]:
        """Runs the layer over the inputs.

        Args:
          inputs: `[B, T, I]`.
          initial_state: tuple of `[B, D]`, float32 under mixed bfloat16; None begins with zeros.
          padding_mask: `[B, T]` bool, False at padding, which never changes the state; None if
            there is no padding.
          resets: `[B, T]` bool, True at tokens before which the state becomes zeros; None if there
            are none.
          training: whether dropout acts.

        Returns:
          the hidden states `[B, T, D]` in the compute dtype, and the last state.
        """
        batch = tf.shape(inputs)[0]
        mask = None
        if initial_state is None:
            initial_state = zero_state(self.cell, batch, self.units, self.variable_dtype)
        if training and self.recurrent_dropout is not None:
            mask = self.recurrent_dropout(
                tf.ones([batch, self.units], self.variable_dtype), training=True
            )
        weights = self.recurrent_weights(mask)
        (outputs,), state = scan(
            lambda row, state: self.cell.step(row, state, weights),
            initial_state,
            self.project(inputs),
            padding_mask=None if padding_mask is None else tf.transpose(padding_mask),
            resets=None if resets is None else tf.transpose(resets),
            reverse=self.reverse,
        )
        return tf.cast(tf.transpose(outputs, [1, 0, 2]), self.compute_dtype), state


@keras.saving.register_keras_serializable("tf_textgen")
class Bidirectional(keras.layers.Layer):
    """A forward and a backward recurrent layer next to each other, each of half the width.

    Args:
      units: even width D of the concatenated hidden states, forward first.
      cell, seed, **kwargs: as for `Recurrent`.

    Reference: Schuster and Paliwal 1997.
    """

    def __init__(
        self, units: int, *, cell: str = "lstm", seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if units % 2:
            raise UserError(
                f"a bidirectional layer of width {units}: expected an even width, half for each "
                "direction"
            )
        self.forward_layer, self.backward_layer = (
            Recurrent(
                units // 2,
                cell=cell,
                reverse=reverse,
                seed=fold_seed(seed, name),
                name=name,
                dtype=self.dtype_policy,
            )
            for reverse, name in ((False, "forward"), (True, "backward"))
        )

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, RecurrentState]:
        """Runs both directions over `inputs` `[B, T, I]`; `padding_mask` as for `Recurrent`.

        Returns:
          the hidden states `[B, T, D]`, and the state of the forward layer after the last step
          next to that of the backward layer after the first, each `[B, D]`.
        """
        forward, forward_state = self.forward_layer(inputs, padding_mask=padding_mask)
        backward, backward_state = self.backward_layer(inputs, padding_mask=padding_mask)
        state = tuple(
            tf.concat(pair, axis=-1) for pair in zip(forward_state, backward_state, strict=True)
        )
        return tf.concat([forward, backward], axis=-1), state
