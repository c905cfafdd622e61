"""Files of a run that relative paths name, found from any folder.

A run records each relative path as it was given, and the absolute path that it meant. Does not
import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tf_textgen.data import files
from tf_textgen.data.data_config import SPLITS, DataConfig
from tf_textgen.errors import UserError

if TYPE_CHECKING:
    from tf_textgen.runs.recipe import Recipe

Checksums = Mapping[str, list[list[Mapping[str, Any]]]]
_FOLDERS = ("tokenizer_dir", "source_tokenizer_dir", "data_dir")
_OTHER_PATHS = (("embedding", "file"), ("run", "baseline"))


def absolute_paths(recipe: Recipe) -> dict[str, str]:
    """Returns relative path -> absolute path of what a recipe reads."""
    given = [getattr(recipe, name) for name in _FOLDERS]
    given.append(recipe.data.cache_dir)
    given += [getattr(getattr(recipe, part), name) for part, name in _OTHER_PATHS]
    for split in SPLITS:
        given += recipe.data.patterns(split)
        given += recipe.data.target_patterns(split)
    return {path: os.path.abspath(path) for path in given if path and _is_relative(path)}


def locate_data(data: DataConfig, paths: Mapping[str, str], checksums: Checksums) -> DataConfig:
    """Returns the data with the paths by which its files are found now.

    A file is looked for at the absolute path, then at the given one from the current folder. If
    both exist, the checksums decide, and without them the absolute path is used.

    Args:
      data: as it was recorded.
      paths: given path -> absolute path.
      checksums: the recorded files of each split, by side.
    """
    located: dict[str, Any] = {"cache_dir": _existing(data.cache_dir, paths)}
    for split in SPLITS:
        recorded = checksums.get(split, [])
        for side, name in enumerate((split, f"{split}_target")):
            expected = [file["sha256"] for file in recorded[side]] if side < len(recorded) else []
            located[name] = _locate(getattr(data, name), paths, expected)
    return dataclasses.replace(data, **located)


def other_files(given: Sequence[str], paths: Mapping[str, str]) -> list[tuple[str, str]]:
    """Returns the given and the absolute path of files that are not those of the current folder.

    Args:
      given: as they were recorded.
      paths: given path -> absolute path.
    """
    found = []
    for path in given:
        here = _files([path])
        if here and here != _files([paths.get(path, path)]):
            found.append((path, paths[path]))
    return found


def locate_recipe(recipe: Recipe, paths: Mapping[str, str], checksums: Checksums) -> Recipe:
    """Returns a recorded recipe with the paths by which its files are found now."""
    located: dict[str, Any] = {}
    for name in _FOLDERS:
        located[name] = _existing(getattr(recipe, name), paths)
    located["data"] = locate_data(recipe.data, paths, checksums)
    for part, name in _OTHER_PATHS:
        config = getattr(recipe, part)
        path = _existing(getattr(config, name), paths)
        located[part] = dataclasses.replace(config, **{name: path})
    return dataclasses.replace(recipe, **located)


def _locate(
    given: Sequence[str], paths: Mapping[str, str], expected: Sequence[str]
) -> tuple[str, ...]:
    """Returns the paths of one side of a split; `expected` are the checksums of its files."""
    absolute = tuple(paths.get(path, path) for path in given)
    found = _files(absolute)
    found_here = _files(given)
    if not found and found_here:
        return tuple(given)
    if found == found_here or not found_here:
        return tuple(given) if found == found_here else absolute
    if expected and _checksums(found) != expected and _checksums(found_here) == expected:
        return tuple(given)
    return absolute


def _existing(given: str | None, paths: Mapping[str, str]) -> str | None:
    """Returns the absolute path of a file or folder if it exists, else the given one."""
    if given is None or given not in paths:
        return given
    absolute = paths[given]
    is_elsewhere = os.path.abspath(given) != absolute
    return absolute if is_elsewhere and os.path.exists(absolute) else given


def _files(patterns: Sequence[str]) -> list[str]:
    """Returns the real paths of the files; none if a pattern names no file."""
    try:
        found = files.expand(patterns, "data")
    except UserError:
        return []
    return [path if files.is_remote(path) else os.path.realpath(path) for path in found]


def _checksums(paths: Sequence[str]) -> list[str]:
    return [files.digest(path)["sha256"] for path in paths]


def _is_relative(path: str) -> bool:
    return not files.is_remote(path) and not os.path.isabs(os.path.expanduser(path))
