"""Decides whether a grammar's entropies are exact: whether any text could be derived in
two ways.
"""

from __future__ import annotations

from typing import Any

from tf_textgen.text.grammar import Child, SynchronousGrammar


def source_is_ambiguous(grammar: SynchronousGrammar) -> bool:
    """Whether some source has two derivations.

    Two leftmost derivations are followed next to each other while they write the same words; a
    state is what each has yet to write. Contexts that both share are walked once. The language is
    finite, so the search ends.
    """
    seen: set[Any] = set()
    open_states: list[Any] = [((Child("x", grammar.start),), None)]
    while open_states:
        left, right = open_states.pop()
        if right is None:
            left = _after_texts(left)
            if left and (left, None) not in seen:
                seen.add((left, None))
                sources = [rule.source + left[1:] for rule in grammar.rules[left[0].symbol]]
                open_states += [(source, None) for source in sources]
                firsts = [_first(grammar, source[0]) for source in sources]
                pairs = [
                    (i, j) for i in range(len(sources)) for j in range(i) if firsts[i] & firsts[j]
                ]
                open_states += [(sources[i], sources[j]) for i, j in pairs]
            continue
        while left and right and isinstance(left[0], str) and left[0] == right[0]:
            left, right = left[1:], right[1:]
        if left == right:
            return True
        if not left or not right or not _first(grammar, left[0]) & _first(grammar, right[0]):
            continue
        if (left, right) in seen:
            continue
        seen.add((left, right))
        if isinstance(left[0], Child):
            open_states += [
                (rule.source + left[1:], right) for rule in grammar.rules[left[0].symbol]
            ]
        else:
            open_states += [
                (left, rule.source + right[1:]) for rule in grammar.rules[right[0].symbol]
            ]
    return False


def target_is_ambiguous(grammar: SynchronousGrammar) -> bool:
    """Whether some source derivation has two renderings with the same text.

    As above, but the two walkers go through renderings of one source derivation, which is chosen as
    they meet it: an item of a stack is a text or a node `(symbol, rule or None, children)`, and
    both stacks see a choice once made.
    """
    seen: set[Any] = set()
    open_states: list[Any] = [(((0, grammar.start),), None, ())]
    while open_states:
        left, right, known = open_states.pop()
        if right is None:
            left = _after_texts(left)
            left, _, known = _renamed(left, (), {})
            if left in seen:
                continue
            seen.add(left)
            if left:
                open_states += list(_split(grammar, left, known))
            continue
        left, right = _matched(left, right)
        if left is None:
            continue
        if left == right:
            return True
        if not left or not right or not _could_meet(grammar, left[0], right[0]):
            continue
        left, right, known = state = _renamed(left, right, dict(known))
        if state in seen:
            continue
        seen.add(state)
        if isinstance(left[0], tuple):
            for side, table in _expanded(grammar, left[0], known):
                open_states.append((side + left[1:], right, table))
        else:
            for side, table in _expanded(grammar, right[0], known):
                open_states.append((left, side + right[1:], table))
    return False


def _split(grammar: SynchronousGrammar, left: Any, known: Any) -> Any:
    """From one shared walk: continues together, or parts at the first node's renderings."""
    by_rule: dict[Any, list[Any]] = {}
    for side, table in _expanded(grammar, left[0], known):
        by_rule.setdefault(table, []).append(side + left[1:])
    for table, sides in by_rule.items():
        for i, side in enumerate(sides):
            yield side, None, ()
            for other in sides[:i]:
                yield side, other, table


def _expanded(grammar: SynchronousGrammar, node: Any, known: Any) -> Any:
    """[(rendering with nodes for children, table of choices)] of one node."""
    name, symbol = node
    table = dict(known)
    for index, rule in enumerate(grammar.rules[symbol]):
        if name in table and table[name][0] != index:
            continue
        children = {child.label: child.symbol for child in rule.source if isinstance(child, Child)}
        if name in table:
            ids, following = dict(table[name][1]), known
        else:
            free = 1 + max(
                [
                    name,
                    *table,
                    *(i for _, pairs in table.values() for _, i in pairs),
                    _highest(known),
                ]
            )
            ids = {label: free + k for k, label in enumerate(children)}
            following = tuple(sorted({**table, name: (index, tuple(ids.items()))}.items()))
        for rendering in rule.renderings:
            side = tuple(
                p if isinstance(p, str) else (ids[p.label], children[p.label])
                for p in rendering.side
            )
            yield side, following


def _highest(known: Any) -> int:
    return 1_000  # above every name that `_renamed` gives


def _renamed(left: Any, right: Any, known: dict[int, Any]) -> Any:
    """Numbers nodes by first appearance and forgets those that neither stack can reach."""
    names: dict[int, int] = {}

    def visit(name: int) -> int:
        if name not in names:
            names[name] = len(names)
            for _, child in known[name][1] if name in known else ():
                visit(child)
        return names[name]

    sides = tuple(
        tuple(item if isinstance(item, str) else (visit(item[0]), item[1]) for item in side)
        for side in (left, right)
    )
    table = {
        names[name]: (index, tuple((label, names[i]) for label, i in pairs))
        for name, (index, pairs) in known.items()
        if name in names
    }
    return (*sides, tuple(sorted(table.items())))


def _after_texts(side: Any) -> Any:
    while side and isinstance(side[0], str):
        side = side[1:]
    return side


def _matched(left: Any, right: Any) -> Any:
    """Takes the same characters from the front of both; `(None, None)` if they differ."""
    while left and right and isinstance(left[0], str) and isinstance(right[0], str):
        a, b = left[0], right[0]
        n = min(len(a), len(b))
        if a[:n] != b[:n]:
            return None, None
        left = (a[n:], *left[1:]) if a[n:] else left[1:]
        right = (b[n:], *right[1:]) if b[n:] else right[1:]
    return left, right


_FIRST: dict[tuple[int, str], frozenset[str]] = {}


def _first(grammar: SynchronousGrammar, part: Any) -> frozenset[str]:
    if isinstance(part, str):
        return frozenset([part])
    key = (id(grammar), part.symbol)
    if key not in _FIRST:
        _FIRST[key] = frozenset().union(
            *(_first(grammar, rule.source[0]) for rule in grammar.rules[part.symbol])
        )
    return _FIRST[key]


_FIRST_CHARACTER: dict[tuple[int, str], frozenset[str]] = {}


def _could_meet(grammar: SynchronousGrammar, a: Any, b: Any) -> bool:
    return bool(_first_characters(grammar, a) & _first_characters(grammar, b))


def _first_characters(grammar: SynchronousGrammar, item: Any) -> frozenset[str]:
    if isinstance(item, str):
        return frozenset(item[0])
    key = (id(grammar), item[1])
    if key not in _FIRST_CHARACTER:
        found: frozenset[str] = frozenset()
        for rule in grammar.rules[item[1]]:
            for rendering in rule.renderings:
                part = rendering.side[0]
                found |= _first_characters(
                    grammar, part if isinstance(part, str) else (0, part.symbol)
                )
        _FIRST_CHARACTER[key] = found
    return _FIRST_CHARACTER[key]
