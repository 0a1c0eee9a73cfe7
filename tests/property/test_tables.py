"""A table that is read is the table that was written, whatever it holds."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artfs.api.data_types import Table
from tests.unit.api.files import again, written

pytestmark = [pytest.mark.falsifies("hostile")]

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT.filter(lambda key: key != "_type"), inner, max_size=3)
    ),
    max_leaves=6,
)
MOMENTS = st.datetimes(timezones=st.none() | st.just(datetime.UTC))
COLUMNS = st.lists(TEXT | st.integers(-5, 5), max_size=4, unique_by=str)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(COLUMNS)
    rows = draw(st.lists(st.tuples(*(NESTED for _ in columns)), max_size=4))
    return Table(columns, rows, allow_mixed_types=True)


@st.composite
def columns_of_one_type(draw: st.DrawFn) -> Table:
    kinds = [st.booleans(), st.integers() | st.floats(), TEXT, MOMENTS, st.lists(st.integers() | st.none(), max_size=3)]
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))
    rows = draw(st.lists(st.tuples(*(kind | st.none() for kind in chosen)), max_size=5))
    return Table(range(len(chosen)), rows)


@given(tables() | columns_of_one_type())
def test_a_table_comes_back_as_it_was(table: Table) -> None:
    read = again(table)
    assert read == table
    assert written(read) == written(table)
