"""Tables that an artifact keeps as JSON, in the formats of the W&B library.

Formats (found in files that wandb 0.31.0 wrote; docs/formats.md has them): `NAME.table.json` is an object with `_type`
"table", `column_types`, `columns`, `data` (rows), `log_mode`, `ncols` and `nrows`; `NAME.partitioned-table.json` one with
`_type` "partitioned-table" and `parts_path`, the directory of the tables that it is made of. What a cell may hold is decided
in cells.py, what its type is in value_types.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Literal

from artfs.api.cells import cell, from_milliseconds, milliseconds
from artfs.api.media import StoredFiles
from artfs.api.value_types import (
    ANY,
    FOREIGN,
    MISSING,
    TIMESTAMP,
    TypesDiffer,
    ValueType,
    array_place,
    fits_as_it_is,
    from_json,
    type_of,
    typed_dict,
)
from artfs.errors import InvalidValue, MachineNotReady
from artfs.model.names import split_path

__all__ = ["PartitionedTable", "Table"]

_TABLE_SUFFIX = ".table.json"
_PARTITIONED_SUFFIX = ".partitioned-table.json"
_COLUMNS_DEFAULT = ("Input", "Output", "Expected")
_LOG_MODE = "IMMUTABLE"  # as W&B names a table that is written once


class Table:
    """Rows and named columns, each of one type.

    A cell holds None, a number, a string, a boolean, a datetime, or lists and dictionaries. What is put in is converted to
    what will be read back: NumPy scalars and arrays become numbers and lists; tuples lists; NaN, NaT and NA become None;
    infinities stay (the file then has `Infinity`, as W&B writes it); a datetime is brought to UTC (one without a zone is
    taken to be UTC) and cut to milliseconds, a date becomes its first moment. Bytes, sets, datetimes within lists or among
    other types, dictionaries with keys that are not strings, and other objects raise InvalidValue.

    Args:
        columns: the names, strings or integers, each once. By default those of `dataframe`, else "Input", "Output", "Expected".
        data: the rows, each with as many cells as there are columns; or a NumPy array of two dimensions, or a pandas DataFrame.
        dataframe: a pandas DataFrame to take columns and rows from, instead of `columns` and `data`.
        allow_mixed_types: let a column hold values of different types.

    Raises:
        InvalidValue: a name is there twice, a row has too few or too many cells, a value cannot be kept, or the values
            of a column are of different types. None goes with every type.

    Example:
        table = artfs.Table(columns=["id", "label"], data=[[1, "cat"], [2, "dog"]])
        artifact.add(table, "labels")
    """

    def __init__(
        self,
        columns: Sequence[str | int] | None = None,
        data: Any = None,
        *,
        dataframe: Any = None,
        allow_mixed_types: bool = False,
    ) -> None:
        if dataframe is None and hasattr(data, "itertuples"):
            dataframe = data
        if dataframe is not None:
            columns, data = list(dataframe.columns), dataframe.itertuples(index=False, name=None)
        self._columns = _checked_columns(_COLUMNS_DEFAULT if columns is None else columns)
        self._mixed = allow_mixed_types
        self._types = [ValueType(ANY, optional=True) if allow_mixed_types else MISSING for _ in self._columns]
        self._rows: list[list[Any]] = []
        for row in data if data is not None else ():
            self.add_data(*row)

    @property
    def columns(self) -> list[str | int]:
        """The names of the columns, in order."""
        return list(self._columns)

    @property
    def data(self) -> list[list[Any]]:
        """The rows, in order. To change the table use `add_data` and `add_column`."""
        return self._rows

    def add_data(self, *row: Any) -> None:
        """Add one row, with a cell for every column in order.

        Args:
            row: the cells.

        Raises:
            InvalidValue: see Table. The table is as before then.
        """
        if len(row) != len(self._columns):
            raise InvalidValue(
                f"a row of {len(row)} cells for {len(self._columns)} columns", hint=f"columns: {self._columns}"
            )
        cells, types = [], []
        for name, kind, value in zip(self._columns, self._types, row, strict=True):
            kept, merged = self._fitted(f"row {len(self._rows)}", name, kind, value)
            cells.append(kept)
            types.append(merged)
        self._rows.append(cells)
        self._types = types

    def add_column(self, name: str | int, data: Iterable[Any]) -> None:
        """Add a column behind the others.

        Args:
            name: its name, which no other column has.
            data: a value for every row; for a table without columns, as many as there are to be rows.

        Raises:
            InvalidValue: see Table; also for too few or too many values. The table is as before then.
        """
        columns = _checked_columns([*self._columns, name])
        values = list(data)
        if self._columns and len(values) != len(self._rows):
            raise InvalidValue(f"a column of {len(values)} values for {len(self._rows)} rows")
        kind = ValueType(ANY, optional=True) if self._mixed else MISSING
        cells = []
        for number, value in enumerate(values):
            kept, kind = self._fitted(f"row {number}", name, kind, value)
            cells.append(kept)
        self._rows = self._rows if self._columns else [[] for _ in cells]
        for row, kept in zip(self._rows, cells, strict=True):
            row.append(kept)
        self._columns = columns
        self._types = [*self._types, kind]

    def get_column(self, name: str | int, convert_to: Literal["numpy"] | None = None) -> Any:
        """The values of one column, in the order of the rows.

        Args:
            name: the column.
            convert_to: "numpy" for an array instead of a list.

        Raises:
            InvalidValue: there is no such column, or `convert_to` is something else.
            MachineNotReady: an array is asked for, and NumPy is not installed.
        """
        if name not in self._columns:
            raise InvalidValue(f"no column {name!r}", hint=f"columns: {self._columns}")
        if convert_to not in (None, "numpy"):
            raise InvalidValue(
                f"a column cannot be converted to {convert_to!r}", hint='give "numpy", or nothing for a list'
            )
        place = self._columns.index(name)
        values = [row[place] for row in self._rows]
        return _numpy().array(values) if convert_to else values

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Every row with its number, from 0."""
        yield from enumerate(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        """Whether columns and rows are the same, in the same order."""
        if not isinstance(other, Table):
            return NotImplemented
        return self._columns == other._columns and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]  # a table changes

    def __repr__(self) -> str:
        return f"Table(columns={self._columns!r}, {len(self._rows)} rows)"

    def file_name(self, name: str) -> str:
        """The path of its file in an artifact to which it is added as `name`."""
        return name if name.endswith(_TABLE_SUFFIX) else name + _TABLE_SUFFIX

    def write(self, file: BinaryIO) -> None:
        """Write it to a `file` as JSON. The same cells give the same bytes."""
        types = {str(name): kind for name, kind in zip(self._columns, self._types, strict=True)}
        head = {"_type": "table", "column_types": typed_dict(types), "columns": self._columns}
        tail = {"log_mode": _LOG_MODE, "ncols": len(self._columns), "nrows": len(self._rows)}
        file.write(_json(head).removesuffix(b"}") + b', "data": [')
        for number, row in enumerate(self._rows):
            file.write((b", " if number else b"") + _json(row))
        file.write(b"], " + _json(tail).removeprefix(b"{"))

    def _fitted(self, where: str, name: str | int, kind: ValueType, value: Any) -> tuple[Any, ValueType]:
        """The cell that keeps `value`, and the type of the column with it."""
        if fits_as_it_is(value, kind):
            return value, kind
        try:
            mixed = kind.kind == ANY
            kept = cell(value, mixed=mixed)
            return kept, kind.merged(type_of(kept, mixed=mixed))
        except InvalidValue as error:
            raise InvalidValue(f"column {name!r}, {where}: {error.message}", hint=error.hint) from None
        except TypesDiffer as differ:
            message = f"column {name!r}, {where}: {differ.second} where there is {differ.first}"
            raise InvalidValue(message, hint="give allow_mixed_types=True to keep both in one column") from None

    def _take(self, rows: list[list[Any]], declared: list[ValueType]) -> None:
        """Become what a file tells; a declared type that its cells do not keep to becomes `any`."""
        self._rows = rows
        for place, kind in enumerate(declared):
            found = kind
            try:
                for row in rows if kind.kind not in (ANY, FOREIGN) else ():
                    if not fits_as_it_is(row[place], found):
                        found = found.merged(type_of(row[place], mixed=True))
            except TypesDiffer:
                found = ValueType(ANY)
            self._types[place] = MISSING.merged(found)


class PartitionedTable:
    """One table made of the tables in a directory of the same artifact, which many writers may have added.

    Args:
        parts_path: the directory in the artifact.

    Attributes:
        parts_path: as it was given.

    Raises:
        InvalidName: `parts_path` cannot be a path in an artifact.

    Example:
        artifact.add(artfs.data_types.PartitionedTable("parts"), "all")
        for number, row in api.artifact("vision/table:latest").get("all").iterrows():
            print(number, row)
    """

    def __init__(self, parts_path: str) -> None:
        split_path(parts_path)
        self.parts_path = parts_path
        self._files: StoredFiles | None = None

    def parts(self) -> Iterator[tuple[str, Table]]:
        """Path and table of every part, in the order of the paths; one is in memory at a time.

        Raises:
            InvalidValue: the table was not read from an artifact, or a part is not in the format of tables.
        """
        if self._files is None:
            raise InvalidValue("this table was not read from an artifact", hint='log it, then artifact.get("name")')
        for path in self._files.paths(self.parts_path.strip("/")):
            if path.endswith(_TABLE_SUFFIX):
                yield path, load_table(path, self._files)

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Every row of all parts, in the order of the parts' paths, with its number, from 0.

        Raises:
            InvalidValue: as `parts`; also when two parts have not the same columns.
        """
        columns: list[str | int] | None = None
        number = 0
        for path, part in self.parts():
            if columns is not None and part.columns != columns:
                raise InvalidValue(f"{path}: columns {part.columns}, where other parts have {columns}")
            columns = part.columns
            for row in part.data:
                yield number, row
                number += 1

    def __eq__(self, other: object) -> bool:
        """Whether both are made of the same directory."""
        if not isinstance(other, PartitionedTable):
            return NotImplemented
        return self.parts_path == other.parts_path

    def __hash__(self) -> int:
        return hash(self.parts_path)

    def __repr__(self) -> str:
        return f"PartitionedTable({self.parts_path!r})"

    def file_name(self, name: str) -> str:
        """The path of its file in an artifact to which it is added as `name`."""
        return name if name.endswith(_PARTITIONED_SUFFIX) else name + _PARTITIONED_SUFFIX

    def write(self, file: BinaryIO) -> None:
        """Write it to a `file` as JSON."""
        file.write(_json({"_type": "partitioned-table", "parts_path": self.parts_path}))


def load_table(path: str, files: StoredFiles) -> Table:
    """Read a table's file. Raises InvalidValue if it is none, MachineNotReady if it needs NumPy, which is not installed."""
    told = _told(path, files, "table")
    if told.get("log_mode") == "INCREMENTAL":
        raise InvalidValue(f"{path} is a part of a table that W&B wrote in increments", hint="log the table as a whole")
    try:
        table = Table(columns=told["columns"])
        types = _declared(told, table.columns)
        rows = [_loaded_row(row, table.columns, types) for row in told["data"]]
        _fill_arrays(rows, told, table.columns, files)
    except InvalidValue as error:
        raise InvalidValue(f"{path} is not a table: {error.message}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidValue(f"{path} is not a table: {type(error).__name__}: {error}") from None
    table._take(rows, types)
    return table


def load_partitioned_table(path: str, files: StoredFiles) -> PartitionedTable:
    """Read a partitioned table's file. Raises InvalidValue if it is none."""
    told = _told(path, files, "partitioned-table")
    if not isinstance(told.get("parts_path"), str):
        raise InvalidValue(f"{path} tells no parts_path")
    table = PartitionedTable(told["parts_path"])
    table._files = files
    return table


def _checked_columns(columns: Sequence[str | int]) -> list[str | int]:
    """`columns` as a list, if each is a name of its own: the types are kept by the names as strings."""
    names = [cell(name) for name in columns]
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise InvalidValue(f"{name!r} cannot name a column", hint="names are strings or integers")
    if len({str(name) for name in names}) < len(names):
        raise InvalidValue(f"two columns have one name: {names}")
    return names


def _told(path: str, files: StoredFiles, kind: str) -> dict[str, Any]:
    with files.open(path) as file:
        try:
            told = json.load(file, parse_constant=_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidValue(f"{path} is not JSON: {error}") from None
    if not isinstance(told, dict) or told.get("_type") != kind:
        raise InvalidValue(f"{path} is not a {kind}")
    return told


def _constant(name: str) -> float | None:
    """What JSON does not know but W&B's files may have."""
    return None if name == "NaN" else float(name)


def _declared(told: dict[str, Any], columns: list[str | int]) -> list[ValueType]:
    """The types that a file tells of its columns; older ones tell none. An array's cells are lists here."""
    types = (told.get("column_types") or {}).get("params", {}).get("type_map", {})
    told_types = [types.get(str(name)) for name in columns]
    return [MISSING if one is None or array_place(one) else from_json(one) for one in told_types]


def _loaded_row(row: list[Any], columns: list[str | int], types: list[ValueType]) -> list[Any]:
    if len(row) != len(columns):
        raise ValueError(f"a row of {len(row)} cells for {len(columns)} columns")
    return [
        from_milliseconds(value) if kind.kind == TIMESTAMP and isinstance(value, int | float) else value
        for value, kind in zip(row, types, strict=True)
    ]


def _fill_arrays(rows: list[list[Any]], told: dict[str, Any], columns: list[str | int], files: StoredFiles) -> None:
    """Put the arrays that W&B keeps in a file beside the table into their cells, as lists."""
    types = (told.get("column_types") or {}).get("params", {}).get("type_map", {})
    for number, name in enumerate(columns):
        place = array_place(types.get(str(name)))
        if place is None:
            continue
        with files.open(place[0]) as file, _numpy().load(file, allow_pickle=False) as arrays:
            for row, array in zip(rows, arrays[place[1]], strict=True):
                row[number] = cell(array)


def _numpy() -> Any:
    """NumPy, which artfs does not need otherwise."""
    try:
        import numpy
    except ImportError:
        raise MachineNotReady("NumPy is not installed", hint="pip install numpy") from None
    return numpy


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=milliseconds).encode("ascii")
