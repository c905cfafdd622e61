"""The order of the rows: a pure function of (seed, epoch), without a shuffle buffer.

A Feistel network with keyed round functions permutes a power of two; what falls outside of `n` is permuted again until
it falls inside (cycle walking), which makes a permutation of any `n` whose single values cost O(1).

Reference: Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002, section 3.
"""

from __future__ import annotations

import hashlib

import numpy as np

_ROUNDS = 6
_MIN_BITS = 4  # smaller networks mix badly
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # splitmix64


def random_integer(bound: int, *key: int) -> int:
    """An integer in `[0, bound)`, a pure function of `key`."""
    return int.from_bytes(_digest(key)[:16], "little") % bound


def permute(indices: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """Where a permutation of `range(n)` sends `indices`.

    Args:
      indices: any shape, integers in `[0, n)`.
      n: number of things permuted, below 2**62.
      seed, epoch: choose the permutation.

    Returns:
      int64 of the shape of `indices`.
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
    """The rows of one global step: epochs follow each other without a gap, so a batch may hold the end of one.

    Returns:
      epoch `[B]` int64, and row `[B]` int64 in `[0, n)`: within an epoch each row comes once.
    """
    epoch, index = np.divmod(
        np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64), n
    )
    row = np.empty_like(index)
    for one in np.unique(epoch):
        row[epoch == one] = permute(index[epoch == one], n, seed, int(one))
    return epoch, row


def _feistel(values: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """Permutes `[0, 2**bits)`: halves of `bits // 2` and `bits - bits // 2` bits swap places each round."""
    left_bits, right_bits = bits // 2, bits - bits // 2
    left, right = values >> np.uint64(right_bits), values & np.uint64((1 << right_bits) - 1)
    for key in keys:
        mask = np.uint64((1 << left_bits) - 1)
        left, right = right, left ^ (_mix(right, key) & mask)
        left_bits, right_bits = right_bits, left_bits
    return (left << np.uint64(right_bits)) | right


def _mix(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """The finalizer of splitmix64 on `values + key`, modulo 2**64."""
    mixed = values + key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MULTIPLIERS[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MULTIPLIERS[1]
    return mixed ^ (mixed >> np.uint64(31))


def _digest(key: tuple[int, ...]) -> bytes:
    return hashlib.blake2b(",".join(str(int(k)) for k in key).encode()).digest()
