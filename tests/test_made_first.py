"""A class that is made a dataclass by its first object is the same as one that was made one at once."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from typing import ClassVar

import pytest

from in_threads import together
from lstm_infer.frozen import finish, frozen


def made():
    @frozen
    class Base:
        KIND: ClassVar[str] = "base"
        a: int
        b: tuple[int, ...] = (1,)

        @property
        def twice(self):
            return 2 * self.a

    @frozen
    class Inner(Base):
        c: list[int] = field(default_factory=list, compare=False)

        def __post_init__(self):
            self.c.append(self.a)

    return Base, Inner


def test_it_is_the_dataclass_that_it_says():
    Base, Inner = made()
    assert not is_dataclass(Inner)
    one = Inner(3, c=[7])
    assert is_dataclass(Inner) and is_dataclass(Base) and [f.name for f in fields(one)] == ["a", "b", "c"]
    assert (one.a, one.b, one.c, one.twice, one.KIND) == (3, (1,), [7, 3], 6, "base")
    assert one == Inner(a=3) and hash(one) == hash(Inner(3)) and one != Inner(4) and one != Base(3)
    assert repr(one).endswith("Inner(a=3, b=(1,), c=[7, 3])")
    assert replace(one, b=()).b == ()
    with pytest.raises(FrozenInstanceError):
        one.a = 4
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        Inner()
    assert not set(vars(Inner)) & {"_of"} and Inner.__init__.__qualname__.endswith("Inner.__init__")


def test_a_class_of_its_own_may_stand_on_it():
    Base, _ = made()

    class Own(Base):
        def __init__(self, a):
            super().__init__(a, (a,))

    assert Own(2).b == (2,)
    assert Own(3).b == (3,)


def test_a_dataclass_may_stand_on_it_once_it_is_one():
    Base, _ = made()

    @dataclass(frozen=True)
    class After(finish(Base)):
        d: int = 0

    assert After(1, d=2) == After(1, (1,), 2)


def test_an_object_that_comes_from_elsewhere_is_whole():
    """Unpickled and copied objects do not go through __init__."""
    from lstm_infer.program.arguments import Activation

    code = (
        "import pickle, sys; one = pickle.loads(sys.stdin.buffer.read());"
        "assert one == pickle.loads(pickle.dumps(one)) and hash(one) and repr(one).startswith('Activation(name='), one"
    )
    one = Activation("ELU", 0.5)
    assert copy.copy(one) == one
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(one), check=True)


def test_many_threads_make_it_once():
    for _ in range(50):
        _, Inner = made()
        found = []

        def work(Inner=Inner, found=found):
            found.append(Inner(5))

        together(*[work] * 8)
        assert found == [Inner(5)] * 8
