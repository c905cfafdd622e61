"""The order of the rows as a pure function of seed and epoch, without a shuffle buffer.

A Feistel network with keyed round functions permutes a power of two. A value outside of `range(n)`
is permuted again until it is inside (cycle walking). The result is a permutation of any `n`, and a
single value of it costs O(1).

Reference: Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002, section 3.
"""

from __future__ import annotations

import hashlib

import numpy as np

_ROUNDS = 6
_MIN_BITS = 4  # smaller networks mix badly
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # splitmix64


def random_integer(bound: int, *key: int) -> int:
    """Returns an integer in `[0, bound)` that is a pure function of `key`."""
    return int.from_bytes(_digest(key)[:16], "little") % bound


def permute(indices: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """Applies a permutation of `range(n)`.

    Args:
      indices: any shape, integers in `[0, n)`.
      n: size of the permuted range, below 2**62.
      seed, epoch: choose the permutation.

    Returns:
      The images of `indices`: int64 of the same shape.
    """
    bits = max(_MIN_BITS, (n - 1).bit_length())
    keys = np.frombuffer(_digest((seed, epoch)), np.uint64)[:_ROUNDS]
    values = np.array(indices, np.uint64, copy=True).reshape(-1)
    outside = np.arange(values.size)
    while outside.size:
        values[outside] = _feistel(values[outside], bits, keys)
        outside = outside[values[outside] >= n]
    return values.astype(np.int64).reshape(np.shape(indices))


def epoch_rows(step: int, batch_size: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of one global step.

    Epochs follow each other without a gap, so a batch can contain the end of one epoch and the
    start of the next.

    Returns:
      epoch `[B]` int64, and row `[B]` int64 in `[0, n)`. Each row occurs once in an epoch.
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    epoch, index = np.divmod(places, n)
    row = np.empty_like(index)
    for one in np.unique(epoch):
        row[epoch == one] = permute(index[epoch == one], n, seed, int(one))
    return epoch, row


def _feistel(values: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """Permutes `[0, 2**bits)`.

    The halves, of `bits // 2` and `bits - bits // 2` bits, are swapped in each round.
    """
    left_bits = bits // 2
    right_bits = bits - left_bits
    left = values >> np.uint64(right_bits)
    right = values & np.uint64((1 << right_bits) - 1)
    for key in keys:
        mask = np.uint64((1 << left_bits) - 1)
        mixed = left ^ (_mix(right, key) & mask)
        left = right
        right = mixed
        left_bits, right_bits = right_bits, left_bits
    return (left << np.uint64(right_bits)) | right


def _mix(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """Applies the finalizer of splitmix64 to `values + key`, modulo 2**64."""
    mixed = values + key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MULTIPLIERS[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MULTIPLIERS[1]
    return mixed ^ (mixed >> np.uint64(31))


def _digest(key: tuple[int, ...]) -> bytes:
    return hashlib.blake2b(",".join(str(int(part)) for part in key).encode()).digest()
