"""Rows are in order, distinct, spread, and never more than there are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infocl.prepared.rows import evenly_spread


@given(count=st.integers(1, 3000), most=st.integers(1, 3000))
def test_rows_are_distinct_in_order_and_spread(count, most):
    rows = evenly_spread(count, most)
    assert len(rows) == min(count, most)
    assert rows[0] == 0
    assert rows[-1] <= count - 1
    steps = np.diff(rows)
    assert len(rows) == 1 or (rows[-1] == count - 1 and steps.min() >= 1 and steps.max() - steps.min() <= 1)
