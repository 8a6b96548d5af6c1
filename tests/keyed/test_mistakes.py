"""What a table is taken for that is none: the message says how to make one of it."""

from __future__ import annotations

import pytest

pa = pytest.importorskip("pyarrow", reason="keyed needs pyarrow")

import lstm_infer  # noqa: E402
import stream_models  # noqa: E402
from lstm_infer.keyed import Scorer  # noqa: E402


class Frame:
    """As a DataFrame is: columns, and a picture of several lines."""

    columns = ("a", "b")

    def __repr__(self):
        return "   a  b\n0  1  2"


@pytest.mark.parametrize(
    ("table", "remedy"),
    [(Frame(), "write pa.table(x)"), ({"a": [1]}, "write pa.table(x)"), ([{"a": 1}], "write pa.Table.from_pylist(x)")],
)
def test_what_is_no_table(table, remedy):
    model = lstm_infer.load(stream_models.hidden_state())
    names = [f"f{n}" for n in range(stream_models.INPUTS)]
    with pytest.raises(lstm_infer.ArgumentError) as caught:
        Scorer(model, key="key", features=names).score(table)
    assert remedy in str(caught.value) and "\n" not in str(caught.value)
