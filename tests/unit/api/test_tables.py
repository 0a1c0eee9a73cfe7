"""Tables: what they hold, what they refuse, and that what they hold is what will be read back."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import numpy
import pytest

from artfs.api.data_types import PartitionedTable, Table
from artfs.errors import InvalidName, InvalidValue, PathNotFound
from tests.unit.api.files import MemoryFiles, again, written

UTC = datetime.UTC
NAN = float("nan")
NAIVE = datetime.datetime(2020, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 what is tested


def only(value: Any) -> Any:
    """The cell that a table keeps of `value`, here and after reading."""
    table = Table(columns=["a"], data=[[value]])
    assert again(table) == table
    return table.data[0][0]


def kind(*values: Any, **more: Any) -> Any:
    """The type that the file tells of a column with these values."""
    table = Table(columns=["a"], data=[[value] for value in values], **more)
    return json.loads(written(table))["column_types"]["params"]["type_map"]["a"]


def of(name: str) -> dict[str, Any]:
    return {"wb_type": name}


def either(*kinds: Any) -> dict[str, Any]:
    return {"wb_type": "union", "params": {"allowed_types": list(kinds)}}


def test_rows_and_columns_are_what_was_given() -> None:
    table = Table(columns=["a", "b"], data=[[1, "x"], (2, "y")])
    table.add_data(3, None)
    table.add_column("c", [True, False, None])
    assert table.columns == ["a", "b", "c"]
    assert table.data == [[1, "x", True], [2, "y", False], [3, None, None]]
    assert list(table.iterrows()) == list(enumerate(table.data))
    assert table.get_column("b") == ["x", "y", None]
    assert len(table) == 3


def test_a_column_is_given_as_an_array_too() -> None:
    column = Table(columns=["a"], data=[[1], [2]]).get_column("a", convert_to="numpy")
    assert isinstance(column, numpy.ndarray)
    assert column.tolist() == [1, 2]


def test_a_table_without_columns_gets_rows_with_its_first() -> None:
    table = Table(columns=[])
    table.add_column("a", range(3))
    assert table.data == [[0], [1], [2]]


def test_the_default_columns_are_those_of_wandb() -> None:
    assert Table().columns == ["Input", "Output", "Expected"]


def test_rows_come_from_an_array() -> None:
    assert Table(columns=["a", "b"], data=numpy.arange(4).reshape(2, 2)).data == [[0, 1], [2, 3]]


class Frame:
    """What artfs uses of a pandas DataFrame."""

    columns = numpy.array(["a", "b"], dtype=object)

    def itertuples(self, index: bool, name: str | None) -> list[tuple[Any, ...]]:
        assert (index, name) == (False, None)
        return [(numpy.int64(1), "x"), (numpy.int64(2), NAN)]


@pytest.mark.parametrize("arguments", [{"dataframe": Frame()}, {"data": Frame()}])
def test_columns_and_rows_come_from_a_data_frame(arguments: dict[str, Any]) -> None:
    table = Table(**arguments)
    assert table.columns == ["a", "b"]
    assert table.data == [[1, "x"], [2, None]]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2**70, 2**70),
        (1.5, 1.5),
        (float("inf"), float("inf")),
        (NAN, None),
        ("é\u2028\U0001f600", "é\u2028\U0001f600"),
        ((1, 2), [1, 2]),
        ([1, NAN], [1, None]),
        ({"x": [{"y": "z"}, None]}, {"x": [{"y": "z"}, None]}),
        (numpy.int64(3), 3),
        (numpy.float32(1.5), 1.5),
        (numpy.longdouble(1.5), 1.5),
        (numpy.bool_(True), True),
        (numpy.str_("s"), "s"),
        (numpy.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (numpy.array([1.0, NAN]), [1.0, None]),
        (numpy.datetime64("2020-01-02T03:04:05.678901234"), datetime.datetime(2020, 1, 2, 3, 4, 5, 678000, UTC)),
        (numpy.datetime64("NaT"), None),
        (NAIVE, datetime.datetime(2020, 1, 2, 3, 4, 5, 678000, UTC)),
        (
            datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
            datetime.datetime(1969, 12, 31, 23, 59, 59, 999000, UTC),
        ),
        (datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, tzinfo=UTC)),
        (
            datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
            datetime.datetime(2020, 1, 2, 1, tzinfo=UTC),
        ),
    ],
    ids=repr,
)
def test_a_value_is_kept_as_it_will_be_read(value: Any, kept: Any) -> None:
    found = only(value)
    assert found == kept
    assert type(found) is type(kept)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        b"abc",
        {1, 2},
        1j,
        numpy.complex128(1j),
        numpy.clongdouble(1j),
        numpy.timedelta64(1, "s"),
        object(),
        Table(columns=["a"]),
        datetime.timedelta(1),
        datetime.time(1),
        [datetime.datetime(2020, 1, 1, tzinfo=UTC)],
        {"t": datetime.date(2020, 1, 1)},
        {1: 2},
        {"_type": "table"},
        "\ud800",
        {"\ud800": 1},
        1 << 2000,
        deep(100),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_is_refused_naming_its_place(value: Any) -> None:
    table = Table(columns=["a", "b"], data=[[1, 2]])
    with pytest.raises(InvalidValue, match="column 'b', row 1"):
        table.add_data(3, value)
    assert table.data == [[1, 2]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], either(of("none"), of("unknown"))),
        ([None], either(of("none"), of("unknown"))),
        ([1, 2.5], either(of("none"), of("number"))),
        ([None, "x"], either(of("none"), of("string"))),
        ([True], either(of("boolean"), of("none"))),
        ([datetime.date(2020, 1, 1)], either(of("none"), of("timestamp"))),
        ([[]], either(of("none"), {"wb_type": "list", "params": {"element_type": of("unknown")}})),
        ([[], [1, 2]], either(of("none"), {"wb_type": "list", "params": {"element_type": of("number")}})),
        (
            [[1, None]],
            either(of("none"), {"wb_type": "list", "params": {"element_type": either(of("none"), of("number"))}}),
        ),
        (
            [{"x": 1}, {"x": 2, "y": "s"}],
            either(
                of("none"),
                {
                    "wb_type": "typedDict",
                    "params": {"type_map": {"x": of("number"), "y": either(of("none"), of("string"))}},
                },
            ),
        ),
    ],
    ids=repr,
)
def test_the_type_of_a_column_is_found_in_its_values(values: list[Any], expected: Any) -> None:
    found = kind(*values)
    if "params" in found:  # the order of the kinds in a union means nothing
        for types in (found, expected):
            types["params"]["allowed_types"].sort(key=lambda one: str(one["wb_type"]))
    assert found == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, "x"),
        (True, 1),
        ([1], ["x"]),
        ([1], 1),
        ({"x": 1}, {"x": "s"}),
        ({"x": 1}, [1]),
        (None, [1, "x"]),
    ],
    ids=repr,
)
def test_values_of_different_types_are_refused_in_one_column_unless_allowed(first: Any, second: Any) -> None:
    table = Table(columns=["a"], data=[[first]])
    with pytest.raises(InvalidValue, match="allow_mixed_types"):
        table.add_data(second)
    assert len(table) == 1
    mixed = Table(columns=["a"], data=[[first], [second]], allow_mixed_types=True)
    mixed.add_column("b", [first, second])
    read = again(mixed)
    assert read == mixed
    read.add_data("anything", 5)  # it still holds values of any type
    assert kind(first, second, allow_mixed_types=True) == either(of("any"), of("none"))


def test_a_datetime_does_not_go_among_other_types() -> None:
    with pytest.raises(InvalidValue, match="Timestamp where there is"):
        Table(columns=["a"], data=[["x"], [datetime.date(2020, 1, 1)]])
    with pytest.raises(InvalidValue, match="a column of datetimes only"):
        Table(columns=["a"], data=[[datetime.date(2020, 1, 1)]], allow_mixed_types=True)


def test_a_table_that_was_read_keeps_the_types_of_its_columns() -> None:
    table = again(Table(columns=["a"], data=[[1]]))
    with pytest.raises(InvalidValue, match="String where there is None or Number"):
        table.add_data("x")
    empty = again(Table(columns=["a"]))
    empty.add_data("x")
    assert empty.data == [["x"]]


def grow(table: Table) -> None:
    table.add_column("b", [1, 2])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Table(columns=["a"], data=[[1, 2]]),
        lambda: Table(columns=["a", "a"]),
        lambda: Table(columns=["1", 1]),
        lambda: Table(columns=[None]),  # type: ignore[list-item]  # what is tested
        lambda: Table(columns=[True]),
        lambda: Table(columns=["\ud800"]),
        lambda: grow(Table(columns=["a"], data=[[1]])),
        lambda: Table(columns=["a"], data=[[1]]).add_column("a", [1]),
        lambda: Table(columns=["a"]).get_column("b"),
        lambda: Table(columns=["a"]).get_column("a", convert_to="pandas"),  # type: ignore[arg-type]  # what is tested
    ],
)
def test_what_does_not_fit_the_table_is_refused(wrong: Callable[[], Any]) -> None:
    with pytest.raises(InvalidValue):
        wrong()


def test_a_refused_column_leaves_the_table_as_it_was() -> None:
    table = Table(columns=["a"], data=[[1], [2]])
    before = written(table)
    with pytest.raises(InvalidValue, match="column 'b', row 1"):
        table.add_column("b", [1, b"x"])
    assert written(table) == before


def test_tables_are_equal_by_columns_and_rows() -> None:
    assert Table(columns=["a"], data=[[1]]) == Table(columns=["a"], data=[[1]])
    assert Table(columns=["a"], data=[[1]]) != Table(columns=["b"], data=[[1]])
    assert Table(columns=["a"], data=[[1]]) != Table(columns=["a"], data=[[2]])
    assert Table(columns=["a"], data=[[1]]) != [[1]]


def test_the_same_cells_give_the_same_bytes() -> None:
    one = Table(columns=["a"], data=[[{"x": 1, "y": 2}]])
    other = Table(columns=["a"], data=[[{"y": 2, "x": 1}]])
    assert written(one) == written(other)


@pytest.mark.parametrize(
    ("name", "path"), [("t", "t.table.json"), ("d/t.x", "d/t.x.table.json"), ("t.table.json", "t.table.json")]
)
def test_the_file_is_called_after_the_name_with_the_suffix_once(name: str, path: str) -> None:
    assert Table().file_name(name) == path
    partitioned = name.replace(".table", ".partitioned-table")
    assert PartitionedTable("parts").file_name(partitioned) == path.replace(".table", ".partitioned-table")


GOOD = {"_type": "table", "columns": ["a"], "data": [[1]], "ncols": 1, "nrows": 1}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        {**GOOD, "_type": "partitioned-table"},
        {"_type": "table"},
        {**GOOD, "columns": 5},
        {**GOOD, "columns": ["a", "a"]},
        {**GOOD, "data": [[1, 2]]},
        {**GOOD, "data": [1]},
        {**GOOD, "column_types": 3},
        {**GOOD, "column_types": {"params": {"type_map": {"a": 3}}}},
        {**GOOD, "data": [[1e300]], "column_types": {"params": {"type_map": {"a": of("timestamp")}}}},
        {**GOOD, "log_mode": "INCREMENTAL"},
    ],
    ids=lambda content: str(content)[:60],
)
def test_a_file_that_is_no_table_is_refused(content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(InvalidValue, match=r"x\.table\.json"):
        MemoryFiles({"x.table.json": text.encode()}).get("x.table.json")


def test_a_file_without_types_is_read() -> None:
    files = MemoryFiles({"x.table.json": json.dumps({**GOOD, "data": [[1], ["x"]]}).encode()})
    assert files.get("x.table.json").data == [[1], ["x"]]


def test_a_type_that_artfs_does_not_know_is_kept() -> None:
    image = {"wb_type": "image-file", "params": {"box_layers": {}}}
    cell = {"_type": "image-file", "path": "media/x.png"}
    told = {**GOOD, "data": [[cell]], "column_types": {"params": {"type_map": {"a": either(image, of("none"))}}}}
    table = MemoryFiles({"x.table.json": json.dumps(told).encode()}).get("x.table.json")
    assert table.data == [[cell]]
    assert image in json.loads(written(table))["column_types"]["params"]["type_map"]["a"]["params"]["allowed_types"]


def parts(*names: str) -> MemoryFiles:
    files = MemoryFiles({"parts/readme.txt": b"no table", "partsx/t.table.json": b"not below it"})
    for number, name in enumerate(names):
        files.add(Table(columns=["n"], data=[[number], [number + 100]]), name)
    return files


def test_a_partitioned_table_gives_the_rows_of_its_parts_in_the_order_of_their_paths() -> None:
    files = parts("parts/table_2", "parts/table_1", "parts/d/table_3")
    table = files.get(files.add(PartitionedTable("parts"), "all"))
    assert table == PartitionedTable("parts")
    assert list(table.iterrows()) == list(enumerate([[2], [102], [1], [101], [0], [100]]))
    assert [path for path, _ in table.parts()] == [
        "parts/d/table_3.table.json",
        "parts/table_1.table.json",
        "parts/table_2.table.json",
    ]


def test_a_partitioned_table_without_parts_has_no_rows() -> None:
    files = MemoryFiles()
    assert list(files.get(files.add(PartitionedTable("parts"), "all")).iterrows()) == []


def test_parts_with_other_columns_are_refused() -> None:
    files = parts("parts/a")
    files.add(Table(columns=["other"]), "parts/b")
    table = files.get(files.add(PartitionedTable("parts"), "all"))
    with pytest.raises(InvalidValue, match=r"parts/b\.table\.json"):
        list(table.iterrows())


def test_a_partitioned_table_of_no_artifact_has_nothing_to_read() -> None:
    with pytest.raises(InvalidValue, match="not read from an artifact"):
        list(PartitionedTable("parts").iterrows())
    with pytest.raises(InvalidName):
        PartitionedTable("../parts")


@pytest.mark.parametrize("told", [{"_type": "table"}, {"_type": "partitioned-table"}, {"parts_path": "x"}])
def test_a_file_that_is_no_partitioned_table_is_refused(told: Any) -> None:
    with pytest.raises(InvalidValue, match=r"x\.partitioned-table\.json"):
        MemoryFiles({"x.partitioned-table.json": json.dumps(told).encode()}).get("x.partitioned-table.json")


def test_a_table_that_is_not_there_is_not_found() -> None:
    with pytest.raises(PathNotFound):
        MemoryFiles().get("x.table.json")
