"""What is said of an error beyond its text is worked out when somebody reads it, once, and travels with it."""

import pickle

import pytest

from lstm_infer.errors import NotStreamableError, ShapeError


def counted(text, calls):
    def reason():
        calls.append(text)
        return text

    return reason


def test_a_reason_is_not_worked_out_before_the_text_is_read_and_then_once():
    calls = []
    error = ShapeError("[3] is fed")
    error.explain(counted("sr chose it", calls))
    assert not calls
    assert [str(error), str(error), f"{error}"] == ["[3] is fed; sr chose it"] * 3
    assert calls == ["sr chose it"]


def test_the_first_reason_that_says_anything_is_taken_and_no_other_after_it():
    calls = []
    error = ShapeError("[3] is fed")
    for text in ("", "inner", "outer"):
        error.explain(counted(text, calls))
    assert str(error) == "[3] is fed; inner" and calls == ["", "inner"]
    error.explain(counted("later", calls))
    assert str(error) == "[3] is fed; inner"
    silent = ShapeError("[4] is fed")
    silent.explain(counted("", calls))
    assert str(silent) == "[4] is fed"
    silent.explain(counted("outer", calls))
    assert str(silent) == "[4] is fed; outer"


@pytest.mark.parametrize(
    "again", [lambda e: e.kept(), lambda e: pickle.loads(pickle.dumps(e))], ids=["kept", "pickled"]
)
def test_reasons_travel_with_the_error(again):
    error = NotStreamableError("no", node="n", op="Flip", reason="backwards")
    error.explain(lambda: "since")
    found = again(error)
    found.explain(lambda: "nothing more, where it was said") if found._explained else None
    assert (str(found), found.node, found.op, found.reason) == ("no; since", "n", "Flip", "backwards")
    assert str(error) == "no; since"


def test_another_text_keeps_the_kind_and_takes_no_reason_twice():
    error = NotStreamableError("no", node="n", op="Flip", reason="backwards")
    error.explain(lambda: "since")
    found = error.with_text(f"sequence 3: {error}")
    found.explain(lambda: "again")
    assert str(found) == "sequence 3: no; since" and found.node == "n" and type(found) is NotStreamableError
