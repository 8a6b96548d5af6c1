"""What has been decided so far, and how a step of the rule takes what it has evidence for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .grid import Mask
from .matching import Edge, components, only_matching
from .scene import NextState, Scene

__all__ = ["Decided"]

Evidence = Mapping[Edge, str]
"""(input, target) by a few words on what shows it."""


@dataclass
class Decided:
    """The pairs that are sure, and what is still free."""

    scene: Scene
    pairs: dict[str, int] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    """Those that names had to tell apart, by the output."""
    open: dict[str, set[int]] = field(default_factory=dict)
    """Inputs for which a step has evidence of several targets."""
    doubted: set[str] = field(default_factory=set)
    """Inputs that the flow pairs in one way and the names in another."""

    @property
    def sure(self) -> set[int]:
        return set(self.pairs.values())

    def free_inputs(self) -> list[str]:
        return [name for name in self.scene.inputs if name not in self.pairs]

    def free_targets(self) -> list[int]:
        sure = self.sure
        return [k for k in range(len(self.scene.targets)) if k not in sure]

    def free(self) -> Mask:
        """The pairs of an input and a target of one shape and type, both free."""
        mask = self.scene.fitting.copy()
        mask[[self.scene.row[name] for name in self.pairs]] = False
        mask[:, list(self.sure)] = False
        return mask

    def free_edges(self, mask: Mask, fits: Callable[[str, int], bool] | None = None) -> list[Edge]:
        """(input, target) of `mask` that are free; `fits` is asked what no mask tells."""
        rows, targets = np.nonzero(self.free() & mask)
        edges = [(self.scene.inputs[i], k) for i, k in zip(rows.tolist(), targets.tolist(), strict=True)]
        return [edge for edge in edges if fits is None or fits(*edge)]

    def feeds(self) -> set[str]:
        """What is left to be fed from call to call, beside the states and scalars."""
        return {name for name in self.scene.fed if name not in self.pairs and self.scene.fact(name).shape}

    def settle(self, evidence: Evidence, *, ties: bool = True) -> bool:
        """Take what is the only perfect matching of a group of edges; with `ties` names that rhyme may decide where there
        are several, all together. Is anything taken."""
        taken = False
        for part in components(evidence):
            found = only_matching(part)
            if found is None and ties:
                found = self._by_rhyme(part)
                if found is not None:
                    self.named |= {name: self.scene.place(name, k).output for name, k in found.items()}
            if found is None:
                for name, k in part:
                    self.open.setdefault(name, set()).add(k)
                continue
            taken = True
            for name, k in found.items():
                self.pairs[name], self.why[name] = k, evidence[name, k]
        return taken

    def contested(self, edges: Iterable[Edge]) -> bool:
        """Do names say that another input belongs to one of these targets, or another target to one of these inputs, and
        is that one free? Then flow has one reading and the names another: remember both."""
        scene, doubted = self.scene, False
        mask = scene.partners & self.free()
        for name, k in edges:
            i = scene.row[name]
            others = mask[i].copy()
            others[k] = False
            mine = scene.partners[i, k]
            if mine or not (others.any() or mask[:, k].any()):
                continue
            doubted = True
            self.doubted.add(name)
            self.open.setdefault(name, set()).update([k, *np.flatnonzero(others).tolist()])
            for other in np.flatnonzero(mask[:, k]).tolist():
                self.doubted.add(scene.inputs[other])
                self.open.setdefault(scene.inputs[other], set()).add(k)
        return doubted

    def _by_rhyme(self, part: Iterable[Edge]) -> dict[str, int] | None:
        """The only matching of edges whose names rhyme, where it has every input of them all."""
        part = list(part)
        scene = self.scene
        found = only_matching([(name, k) for name, k in part if scene.rhyming[scene.row[name], k]])
        return found if found and len(found) == len({name for name, _ in part}) else None

    def result(self) -> dict[str, NextState]:
        """By input: where its next value stands, and why."""
        scene = self.scene
        return {
            name: NextState(scene.place(name, self.pairs[name]), self.why[name], name in self.named)
            for name in scene.inputs
            if name in self.pairs
        }
