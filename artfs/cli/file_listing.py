"""Files of a version, as `artfs ls` prints them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from artfs.cli.context import Session
from artfs.cli.output import echo_json_stream, echo_name, iso_time, local_time
from artfs.cli.refs import resolve_version
from artfs.client.trees import Found, TreeReader
from artfs.model.content import FileContent
from artfs.model.reference import Reference
from artfs.model.sizes import format_size
from artfs.model.tree import EntryKind
from artfs.wandb_client.births import SCHEME as WANDB
from artfs.wandb_client.births import shown_digest

AT_ONCE = 256
MODES = {
    EntryKind.FILE: "-r--r--r--",
    EntryKind.LARGE_FILE: "-r--r--r--",
    EntryKind.DIRECTORY: "dr-xr-xr-x",
    EntryKind.SYMLINK: "lrwxrwxrwx",
    EntryKind.REFERENCE: "-r--r--r--",
}
KIND_WORDS = {
    EntryKind.FILE: "file",
    EntryKind.LARGE_FILE: "file",
    EntryKind.DIRECTORY: "directory",
    EntryKind.SYMLINK: "symlink",
    EntryKind.REFERENCE: "reference",
}


def list_files(session: Session, ref: str, *, long: bool, recursive: bool, as_json: bool) -> None:
    """Print what is at a reference to a version or to a path in one."""
    version, path = resolve_version(session.registry, ref)
    reader = TreeReader(session.client.objects, version.project)
    found = reader.lookup(version.root_key.digest, path) if path else None
    if found is not None and found.entry.kind is not EntryKind.DIRECTORY:
        listed = iter([found])
    else:
        directory = version.root_key.digest if found is None else found.entry.digest
        listed = reader.walk(directory) if recursive else reader.list(directory)
    if as_json:
        echo_json_stream(_entry_json(*one) for one in _described(session, version.project, listed))
    elif long:
        for one in _described(session, version.project, listed):
            echo_name(_long_line(*one))
    else:
        for entry in listed:
            echo_name(_short_name(entry))


def _described(session: Session, project: str, listed: Iterator[Found]) -> Iterator[tuple[Found, Reference | None]]:
    """Entries with their descriptors, which are read many at a time; what references refer to is not looked for."""
    while some := list(islice(listed, AT_ONCE)):
        named = {i: (FileContent.of(one.entry), one.entry.name) for i, one in enumerate(some) if _is_reference(one)}
        opened = session.client.objects.open_references(project, [*named.values()])
        references = {i: one.reference for i, one in zip(named, opened, strict=True)}
        yield from ((one, references.get(i)) for i, one in enumerate(some))


def _is_reference(found: Found) -> bool:
    return found.entry.kind is EntryKind.REFERENCE


def _entry_json(found: Found, reference: Reference | None) -> dict[str, Any]:
    entry = found.entry
    is_wandb = reference is not None and reference.scheme == WANDB  # a file of a W&B server, as anybody sees it
    row: dict[str, Any] = {
        "path": found.path,
        "kind": KIND_WORDS[EntryKind.FILE if is_wandb else entry.kind],
        "size_bytes": entry.size_bytes,
        "digest": shown_digest(entry.digest) if is_wandb else entry.digest.text,
        "entered_at": iso_time(found.time_ns),
    }
    if entry.executable:
        row["executable"] = True
    if entry.target is not None:
        row["target"] = entry.target
    if reference is not None and not is_wandb:
        sha256 = None if reference.sha256 is None else reference.sha256.hex()
        row |= {"uri": reference.uri, "etag": reference.etag or None, "sha256": sha256}
    return row


def _short_name(found: Found) -> str:
    return found.path + ("/" if found.entry.kind is EntryKind.DIRECTORY else "")


def _long_line(found: Found, reference: Reference | None) -> str:
    entry = found.entry
    mode = "-r-xr-xr-x" if entry.executable else MODES[entry.kind]
    target = entry.target if reference is None or reference.scheme == WANDB else reference.uri
    arrow = f" -> {target}" if target is not None else ""
    size = format_size(entry.size_bytes).rjust(9)
    return f"{mode}  {size}  {local_time(found.time_ns)}  {_short_name(found)}{arrow}"
