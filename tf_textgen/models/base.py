"""The contract of all model families: teacher forcing, incremental decoding, one training step.

A family subclasses `TextModel`, sets `config_class`, makes its layers in `__init__` and writes
`call`, `start`, `step` and `example_features`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, NamedTuple

import keras
import tensorflow as tf

from tf_textgen import compat, objectives
from tf_textgen.errors import UserError
from tf_textgen.layers.embedding import TokenEmbedding
from tf_textgen.models.carried_state import CarriedState
from tf_textgen.models.micro_batches import sum_over_micro_batches
from tf_textgen.models.model_config import ModelConfig
from tf_textgen.models.moving_average import MovingAverage

Features = Mapping[str, tf.Tensor]


class State(NamedTuple):
    """The state of a model between two tokens; every tensor of both nests is `[B, ...]`.

    Attributes:
      per_step: caches and recurrent states, gathered again when the rows of a beam change places.
      per_source: what depends only on the source (the encoder's memory): never changes after
        `start`.
    """

    per_step: Any
    per_source: Any


class TokenSums(NamedTuple):
    """Sums over the tokens of a batch, float32 scalars."""

    nats: tf.Tensor  # unsmoothed
    hits: tf.Tensor
    tokens: tf.Tensor


class _Batch(NamedTuple):
    """The inputs of a step: features by name, labels `[B, T]` int32, their weights `[B, T]`
    float32.
    """

    features: Features
    labels: tf.Tensor
    weights: tf.Tensor


class TextModel(keras.Model):
    """A model of the next token.

    Args:
      config: the family's configuration, kept as `self.config`.
      seed: of the initial weights and of dropout; None draws one from Keras' global generator.
      **kwargs: of `keras.Model`: `name`, `dtype` (a policy such as "mixed_bfloat16"), `trainable`.

    Attributes:
      config_class: the class of `config`, set by each family.
      moving_average: of the trainable weights, if `compile` was asked for one.
      has_hidden: whether `hidden` returns a vector for each token.
    """

    config_class: ClassVar[type[ModelConfig]]
    has_hidden: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, *, seed: int | None = None, **kwargs: Any) -> None:
        # A fixed name: paths of variables, by which checkpoints find them, begin with it.
        super().__init__(**{"name": self.config_class.prefix or type(self).__name__, **kwargs})
        if not isinstance(config, self.config_class):
            raise UserError(
                f"{type(self).__name__} was given a {type(config).__name__}: expected a "
                f"{self.config_class.__name__}"
            )
        self.config = config
        # Keras' `jit_compile="auto"` reads this attribute.
        self.supports_jit = config.supports_xla
        self.seed = seed
        self.label_smoothing = 0.0
        self.clip_norm: float | None = None
        self.micro_batches = 1
        self._gradients: Any = self._gradients_of
        self._jit_asked: bool | str = "auto"
        self.train_function: Any = None
        self.test_function: Any = None
        self.moving_average: MovingAverage | None = None
        self._carried_rows: int | None = None
        self._carried: CarriedState | None = None
        self._carried_in_validation: CarriedState | None = None
        self._loss = objectives.TokenMean("loss")
        self._perplexity = objectives.Perplexity("perplexity")
        self._accuracy = objectives.TokenMean("accuracy")
        self._tokens = objectives.TokenCount("tokens")
        self._gradient_norm = objectives.TokenMean("gradient_norm")

    # The contract.

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """Teacher forcing: logits `[B, T, V]` float32 of the token after each of `target_tokens`
        `[B, T]`.
        """
        raise NotImplementedError

    def start(self, features: Features, capacity: tf.Tensor | int) -> tuple[tf.Tensor, State]:
        """Reads the prompts (and sources), left-padded, and makes the state.

        Args:
          features: `target_tokens` `[B, P]` int32 left-padded prompts, `target_lengths` `[B]`
            int32, at least 1; encoder-decoders also `source_tokens` `[B, S]` right-padded and
            `source_lengths` `[B]`.
          capacity: int32 scalar, P plus the largest number of tokens `step` will be given.

        Returns:
          logits `[B, V]` float32 of the first new token, and the state.
        """
        raise NotImplementedError

    def step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Appends one token `[B]` int32 to each row: logits `[B, V]` float32 of the next, and the
        new state.
        """
        raise NotImplementedError

    def hidden(self, features: Features) -> tf.Tensor:
        """The last hidden state of each token, before it becomes logits; what a text's vector is
        made of.

        Args:
          features: `target_tokens` `[B, T]` right-padded; of an encoder-decoder `source_tokens`
            `[B, S]` and `source_lengths` `[B]`, of whose tokens the encoder's memory is asked.

        Returns:
          `[B, T, D]` or `[B, S, D]`, of no meaning at padding.

        Raises:
          UserError: if the family has none (`has_hidden`).
        """
        raise UserError(f"{self.name} has no hidden states: expected a neural model for embeddings")

    def embeddings(self) -> Mapping[str, TokenEmbedding]:
        """The tables of token vectors, by the side ("source", "target") whose tokens they read.

        A language model reads both sides with one table. The dict is empty if the family has none
        (`ModelConfig.has_embeddings`).
        """
        return {}

    def embedding_tables(self, side: str = "all") -> dict[str, TokenEmbedding]:
        """Returns the tables of `side` ("all", "source" or "target") by the names of their layers.

        Raises:
          UserError: if there are none, or a language model is asked for one side.
        """
        tables = self.embeddings()
        if not tables:
            raise UserError(
                f"--embedding.file with --model={self.name}: this model has no embedding table; "
                "leave it out"
            )
        if side == "all":
            return {table.name: table for table in tables.values()}
        if self.config.kind != "encoder_decoder":
            raise UserError(
                f"--embedding.side={side} with --model={self.name}: this model has no sides; leave "
                "it out"
            )
        return {tables[side].name: tables[side]}

    def example_features(self) -> dict[str, tf.Tensor]:
        """The smallest features `call` accepts; `initialize` makes the variables with them."""
        raise NotImplementedError

    def initial_carry(self, rows: int) -> Any:
        """The state before the first token, a nest of `[rows, ...]`, of a family that can carry it
        between batches.
        """
        raise UserError(
            f"{self.name} has no state that one batch could hand to the next: expected a recurrent "
            "language model for --data.carry_state; leave it out or choose --model=rnn_lm"
        )

    def call_carried(
        self, features: Features, carry: Any, training: bool = False
    ) -> tuple[tf.Tensor, Any]:
        """`call` from the state that the batch before left: logits, and the state to hand on.

        `features` also hold `resets` `[B, T]` int32, 1 at tokens before which the state becomes
        zeros, 0 elsewhere.
        """
        raise NotImplementedError

    # Variables and serialization.

    def initialize(self) -> TextModel:
        """Makes all variables, as a first call does: needed before a checkpoint is read or a
        strategy trains.

        Returns:
          The model itself.
        """
        if not self.built:
            self(self.example_features())
        return self

    def get_config(self) -> dict[str, Any]:
        policy = keras.saving.serialize_keras_object(self.dtype_policy)
        shared = {"name": self.name, "trainable": self.trainable, "dtype": policy}
        return {"config": self.config.to_json(), "seed": self.seed, **shared}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TextModel:
        values = dict(config)
        policy = keras.saving.deserialize_keras_object(values.pop("dtype"))
        return cls(cls.config_class.from_json(values.pop("config")), dtype=policy, **values)

    def freeze(self, names: Collection[str]) -> None:
        """Keeps the variables of the layers of these names as they are; a `.keras` file remembers
        it.

        To be called once the model is built, before it is compiled.
        """
        for layer in self.layers:
            if layer.name in names:
                layer.trainable = False

    def get_build_config(self) -> dict[str, Any]:
        return {
            "initialize": True,
            "frozen": [layer.name for layer in self.layers if not layer.trainable],
        }

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.initialize()
        self.freeze(config.get("frozen", ()))

    # Training.

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        *,
        label_smoothing: float = 0.0,
        clip_norm: float | None = None,
        carried_rows: int | None = None,
        micro_batches: int = 1,
        ema_decay: float = 0.0,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        loss: None = None,
        metrics: None = None,
    ) -> None:
        """Prepares `fit` and `evaluate`; loss and metrics are the model's own.

        Args:
          optimizer: a Keras optimizer; do not set its `clipnorm` arguments, they clip before
            replicas are summed.
          label_smoothing: share of the target spread over the vocabulary, in [0, 1); in the
            training loss only.
          clip_norm: largest global norm of the gradient of the mean loss of a token, or None.
          carried_rows: rows of a batch over all replicas whose states continue in the same rows of
            the next batch, those of training and those of evaluation apart; None begins each batch
            again.
          micro_batches: parts of a replica's batch that are worked on one after the other before
            the update, which stays that of the whole batch but for dropout: a batch that memory has
            no room for.
          ema_decay: of a moving average of the trainable weights, which `averaged` puts in their
            place; 0 keeps none.
          jit_compile: compile with XLA. With several replicas only the forward and backward pass is
            compiled, and only where this is True.
          run_eagerly, steps_per_execution: as in `keras.Model.compile`.
          loss, metrics: None. The model computes sums over tokens, which Keras' losses and metrics
            would average by batch.

        Raises:
          UserError: if an argument is out of its bounds.
        """
        if loss is not None or metrics is not None:
            raise UserError(
                f"compile(loss={loss!r}, metrics={metrics!r}): expected neither, since the model "
                "has the cross entropy of the next token and its own metrics; leave them out"
            )
        if not 0.0 <= label_smoothing < 1.0:
            raise UserError(f"label_smoothing={label_smoothing:g}: expected a value in [0, 1)")
        if clip_norm is not None and not clip_norm > 0.0:
            raise UserError(
                f"clip_norm={clip_norm:g}: expected a value above 0, or None for no clipping"
            )
        if micro_batches < 1:
            raise UserError(
                f"micro_batches={micro_batches}: expected 1 (the whole batch at once) or more"
            )
        if not 0.0 <= ema_decay < 1.0:
            raise UserError(
                f"ema_decay={ema_decay:g}: expected a value in [0, 1), 0 for no moving average"
            )
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas > 1 and steps_per_execution != 1:
            raise UserError(
                f"steps_per_execution={steps_per_execution} with {replicas} replicas: expected 1"
            )
        self.label_smoothing = label_smoothing
        self.clip_norm = clip_norm
        self.micro_batches = micro_batches
        self._jit_asked = jit_compile
        self._make_carried(carried_rows, replicas)
        self._make_moving_average(ema_decay)
        self._gradients = self._gradients_of
        if replicas > 1 and jit_compile is True:
            self._gradients = tf.function(self._gradients_of, autograph=False, jit_compile=True)
        super().compile(
            optimizer,
            jit_compile=jit_compile if replicas == 1 else False,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
        )
        if replicas > 1:
            compat.fit_on_replicas(self.initialize())

    def get_compile_config(self) -> dict[str, Any]:
        if not self.compiled:
            return {}
        optimizer = keras.saving.serialize_keras_object(self.optimizer)
        return {
            "optimizer": optimizer,
            "optimizer_built": self.optimizer.built,
            "label_smoothing": self.label_smoothing,
            "clip_norm": self.clip_norm,
            "carried_rows": self._carried_rows,
            "micro_batches": self.micro_batches,
            "ema_decay": 0.0 if self.moving_average is None else self.moving_average.decay,
            "jit_compile": self._jit_asked,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        values = dict(config)
        optimizer = keras.saving.deserialize_keras_object(values.pop("optimizer"))
        built = values.pop("optimizer_built")
        self.compile(optimizer, **values)
        # An optimizer has its variables from the first update on; the file holds those that were
        # there.
        if built:
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self._loss, self._perplexity, self._accuracy, self._tokens, self._gradient_norm]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update from `(features, labels, weights)`.

        Gradients are sums over tokens until they are summed over the replicas and divided by the
        global number of tokens; then they are clipped, so that the update does not depend on how a
        batch is split.
        """
        batch = _unpack(data)
        before = self._carry(batch.features, self._carried)
        (gradients, sums), after = self._gradients(batch, before)
        if self._carried is not None:
            self._carried.write(after)
        gradients, sums = _sum_over_replicas((gradients, sums))
        scale = tf.math.divide_no_nan(1.0, sums.tokens)
        gradients = [gradient * scale for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        if self.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm, use_norm=norm)
        self.optimizer.apply(gradients, self.trainable_variables)
        if self.moving_average is not None:
            self.moving_average.update()
        self._gradient_norm.update_state(norm, 1.0)
        return {**self._update_token_metrics(sums), "gradient_norm": self._gradient_norm.result()}

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Adds one batch of `(features, labels, weights)` to the metrics."""
        batch = _unpack(data)
        before = self._carry(batch.features, self._carried_in_validation)
        logits, after = self._forward(batch.features, before, training=False)
        if self._carried_in_validation is not None:
            self._carried_in_validation.write(after)
        return self._update_token_metrics(_sum_over_replicas(_token_sums(logits, batch)))

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras makes it, and for several replicas one that works over machines too."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = self._on_replicas(self.train_step)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """As `make_train_function`, of `test_step`."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = self._on_replicas(self.test_step)
        return self.test_function

    def _on_replicas(
        self, step: Callable[[Any], dict[str, tf.Tensor]]
    ) -> Callable[[Any], dict[str, tf.Tensor]]:
        """Takes a step on every replica; the metrics it returns are those of all of them, so the
        first's are taken.
        """
        strategy = self.distribute_strategy

        def once(data: Any) -> dict[str, tf.Tensor]:
            results = strategy.run(step, args=(data,))
            return {
                name: strategy.experimental_local_results(value)[0]
                for name, value in results.items()
            }

        function = (
            once if self.run_eagerly else tf.function(once, autograph=False, reduce_retracing=True)
        )
        return lambda iterator: function(next(iterator))

    def _gradients_of(
        self, batch: _Batch, before: Any
    ) -> tuple[tuple[list[tf.Tensor], TokenSums], Any]:
        """`_forward_backward`, in as many parts as there are micro-batches."""
        zeros = [
            tf.zeros(variable.shape, variable.value.dtype) for variable in self.trainable_variables
        ]
        sums = (zeros, TokenSums(*(tf.zeros([]) for _ in TokenSums._fields)))
        return sum_over_micro_batches(
            self._forward_backward, batch, before, sums, self.micro_batches
        )

    def _forward_backward(
        self, batch: _Batch, before: Any
    ) -> tuple[tuple[list[tf.Tensor], TokenSums], Any]:
        """The gradients of the loss summed over the tokens, dense, in the order of
        `trainable_variables`.

        Returns:
          These and the sums of the metrics, and the state to carry on.
        """
        with tf.GradientTape() as tape:
            logits, after = self._forward(batch.features, before, training=True)
            sums = _token_sums(logits, batch)
            loss = sums.nats
            if self.label_smoothing:
                costs = objectives.token_cross_entropy(logits, batch.labels, self.label_smoothing)
                loss = tf.reduce_sum(costs * batch.weights)
        variables = [variable.value for variable in self.trainable_variables]
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        # Sparse gradients of an embedding hold one row for each use: their norm is not the norm of
        # the gradient.
        return ([tf.convert_to_tensor(gradient) for gradient in gradients], sums), after

    def _forward(self, features: Features, before: Any, training: bool) -> tuple[tf.Tensor, Any]:
        """Logits from zeros, or from the state carried along, and that state after."""
        if not tf.nest.flatten(before):
            return self(features, training=training), before
        return self.call_carried(features, before, training=training)

    def _carry(self, features: Features, carried: CarriedState | None) -> Any:
        """The state that the batch before left; an empty nest where none is carried along."""
        if carried is None:
            return ()
        if "resets" not in features:
            raise UserError(
                f"features {', '.join(sorted(features))} for a model that carries its state: "
                "expected resets too; use data with --data.carry_state"
            )
        return carried.read(features["target_tokens"].shape[0])

    def _make_carried(self, rows: int | None, replicas: int) -> None:
        self._carried_rows = rows
        self._carried = None
        self._carried_in_validation = None
        if rows is None:
            return
        if rows % (replicas * self.micro_batches):
            parts = (
                f" with {self.micro_batches} micro-batches each" if self.micro_batches > 1 else ""
            )
            raise UserError(
                f"{rows} rows of carried state on {replicas} replicas{parts}: expected as many "
                "rows on each; choose a multiple"
            )
        with self.distribute_strategy.scope():
            self._carried, self._carried_in_validation = (
                CarriedState(self.initial_carry(rows // replicas)) for _ in range(2)
            )

    @property
    def carried_state(self) -> CarriedState | None:
        """The state that training hands from batch to batch, or None."""
        return self._carried

    def _make_moving_average(self, decay: float) -> None:
        self.moving_average = None
        if decay:
            with self.distribute_strategy.scope():
                self.moving_average = MovingAverage(self.initialize().trainable_variables, decay)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the weights are their moving averages, if there are any."""
        return (
            contextlib.nullcontext()
            if self.moving_average is None
            else self.moving_average.in_place()
        )

    def _update_token_metrics(self, sums: TokenSums) -> dict[str, tf.Tensor]:
        """Adds global sums.

        Every replica adds its share, since Keras sums metric variables over the replicas.
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        nats, hits, tokens = (tf.cast(value, tf.float64) / replicas for value in sums)
        self._loss.update_state(nats, tokens)
        self._perplexity.update_state(nats, tokens)
        self._accuracy.update_state(hits, tokens)
        self._tokens.update_state(tokens, tokens)
        results = {m.name: m.result() for m in (self._loss, self._perplexity, self._accuracy)}
        return {**results, "tokens": self._tokens.result() * replicas}


def pair_feature(features: Features, name: str) -> tf.Tensor:
    """A feature that an encoder-decoder cannot do without; its absence raises `UserError`."""
    if name not in features:
        raise UserError(
            f"the features of an encoder-decoder lack {name!r}: expected source_tokens, "
            "source_lengths, target_tokens (and target_lengths to start decoding), got "
            f"{', '.join(sorted(features))}; use a dataset of pairs"
        )
    return features[name]


def _unpack(data: Any) -> _Batch:
    features, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    if labels is None:
        raise UserError(
            "a batch without labels: expected (features, labels, weights) from the dataset"
        )
    if weights is None:
        weights = tf.ones_like(labels, tf.float32)
    return _Batch(features, labels, tf.cast(weights, tf.float32))


def _token_sums(logits: tf.Tensor, batch: _Batch) -> TokenSums:
    nats = tf.reduce_sum(objectives.token_cross_entropy(logits, batch.labels) * batch.weights)
    hits = tf.reduce_sum(objectives.token_hits(logits, batch.labels) * batch.weights)
    return TokenSums(nats, hits, tf.reduce_sum(batch.weights))


def _sum_over_replicas(values: Any) -> Any:
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)
