"""Every parser of bytes that somebody else may have made, with what it takes and the errors that it declares."""

from __future__ import annotations

import base64
import json as std_json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from artfs.client.credentials import checked_token, find_token, server_name
from artfs.client.learned.start_files import StartFiles
from artfs.client.references.file_source import path_of
from artfs.client.references.policy import host_and_port
from artfs.client.references.source import name_of
from artfs.client.remembered.answer_file import AnswerFile
from artfs.client.remembered.question import Kind, Question
from artfs.client.remote.answers import error_of, retry_after_s
from artfs.client.remote.connections import Answer
from artfs.client.remote.ranges import RangeRequest, check_range
from artfs.client.remote.recipes import parse_beginning
from artfs.client.remote.transport import origin_of
from artfs.config import load_config
from artfs.errors import (
    ArtfsError,
    DamagedObject,
    DamagedPack,
    InvalidName,
    InvalidValue,
    NewerFormat,
    RegistryUnavailable,
    StorageFailed,
)
from artfs.fuse.mount_options import parse_mount_options
from artfs.fuse.mount_records import MountRecords
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey
from artfs.model.durations import parse_ttl_s
from artfs.model.lineage import RunRef, VersionRef
from artfs.model.links import way_out
from artfs.model.metadata import parse_metadata
from artfs.model.names import ArtifactRef, check_alias, check_label, split_path
from artfs.model.pack import FOOTER_BYTES, HEADER_BYTES, decode_footer, decode_header, decode_index, decode_places
from artfs.model.recipe import decode_recipe, encode_recipe
from artfs.model.reference import decode_reference, encode_reference
from artfs.model.sizes import parse_size
from artfs.model.tree import PageSummary as Summary
from artfs.model.tree import decode_page, encode_index, encode_leaf
from artfs.server.app import OPERATIONS
from artfs.server.process import Listen
from artfs.server.ranges import parse_range
from artfs.store.bucket_url import BucketUrl
from artfs.store.encrypted_file import decode_encrypted_header
from artfs.store.encryption_keys import parse_keys
from artfs.wire import json
from artfs.wire.http import Beginning, Changes, ErrorBody, Hello, Page, Pages, Places
from artfs.wire.records import VersionRecord
from artfs.wire.runs import RunRecord
from artfs.wire.times import PageTimes, encode_times
from tests.property.test_pack import HEADERS, LENGTHS, pack_of, placed_from
from tests.property.test_reference import references
from tests.property.trees import DIGESTS, DIRECTORIES, NAMES

SIZES = st.integers(0, 2**40)


@dataclass(frozen=True)
class Parser:
    """What takes bytes, valid ones of it, and the errors that it may raise."""

    parse: Callable[[bytes], object]
    valid: st.SearchStrategy[bytes]
    errors: tuple[type[Exception], ...]


def of_text(
    parse: Callable[[str], object], *valid: str, errors: tuple[type[Exception], ...] = (InvalidValue, InvalidName)
) -> Parser:
    """A parser of text, which comes as bytes that may be none (`surrogateescape`, as arguments of commands do)."""
    return Parser(
        lambda data: parse(data.decode("utf-8", "surrogateescape")),
        st.sampled_from([text.encode() for text in valid]),
        errors,
    )


# --- stored objects ---

DAMAGE = (DamagedObject, NewerFormat)
PACK_DAMAGE = (DamagedPack, NewerFormat)
_DIRECTORIES = DIRECTORIES.map(encode_leaf)


@st.composite
def indexes(draw: st.DrawFn) -> bytes:
    names = sorted(draw(st.sets(NAMES, min_size=1, max_size=8)))
    pages = [Summary(draw(DIGESTS), draw(st.integers(1, 4096)), draw(SIZES), draw(SIZES)) for _ in names]
    return encode_index(draw(st.integers(1, 8)), names, pages)


@st.composite
def recipes(draw: st.DrawFn) -> bytes:
    chunks = draw(st.lists(st.tuples(DIGESTS, st.integers(1, 2 << 20)), min_size=2, max_size=20))
    return encode_recipe(draw(DIGESTS), chunks)


def _pass_itself(target: str) -> str | None:
    return way_out(("a", "b", "c"), target, lambda names: target)


def _use_page(data: bytes) -> None:
    page = decode_page(data)
    list(page.children())
    page.summary(Digest.of(data))


def _use_recipe(data: bytes) -> None:
    recipe = decode_recipe(data)
    list(recipe.spans(recipe.size_bytes // 2, 1 << 20))


def _use_times(data: bytes) -> None:
    times = PageTimes(data, 5)
    assert 0 <= times[0] < 2**63
    times.run_end(3)


def _read_pack(data: bytes) -> None:
    header, footer = data[:HEADER_BYTES], data[-FOOTER_BYTES:]
    decode_header(header)
    offset, length = decode_footer(footer, len(data))
    for placed in decode_index(header, data[offset : offset + length], footer):
        assert HEADER_BYTES <= placed.offset <= placed.offset + placed.stored_bytes <= offset


def _resealed(pack: bytes) -> bytes:
    """A pack whose index was changed, with the checksum made right again, as somebody hostile would."""
    if len(pack) < HEADER_BYTES + FOOTER_BYTES:
        return pack
    footer = pack[-FOOTER_BYTES:]
    offset = min(int.from_bytes(footer[:8], "little"), len(pack) - FOOTER_BYTES)
    index = pack[offset:-FOOTER_BYTES]
    checksum = sha256(pack[:HEADER_BYTES] + index).digest()
    return (
        pack[:-FOOTER_BYTES] + offset.to_bytes(8, "little") + len(index).to_bytes(8, "little") + checksum + footer[-8:]
    )


_PACKS = st.builds(pack_of, HEADERS, LENGTHS.map(placed_from))
_INDEXES = _PACKS.map(lambda pack: pack[int.from_bytes(pack[-FOOTER_BYTES:][:8], "little") : -FOOTER_BYTES])
_FRAMES = st.binary(min_size=200, max_size=2000).map(lambda data: bytes(codec.encode(data * 3)[1]))
_ENCRYPTED = st.binary(min_size=200, max_size=300).map(lambda data: b"artfsenc" + data)

STORED = {
    "a page of a tree": Parser(_use_page, _DIRECTORIES, DAMAGE),
    "an index of a tree": Parser(_use_page, indexes(), DAMAGE),
    "a recipe": Parser(_use_recipe, recipes(), DAMAGE),
    "a reference's descriptor": Parser(decode_reference, references().map(encode_reference), DAMAGE),
    "a pack": Parser(_read_pack, _PACKS, PACK_DAMAGE),
    "a pack with a right checksum": Parser(lambda data: _read_pack(_resealed(data)), _PACKS, PACK_DAMAGE),
    "an index of a pack": Parser(decode_places, _INDEXES, PACK_DAMAGE),
    "a compressed object": Parser(lambda data: codec.decode(1, data, 3000), _FRAMES, DAMAGE),
    "an encrypted pack's header": Parser(lambda data: decode_encrypted_header(data, "it"), _ENCRYPTED, PACK_DAMAGE),
    "times of a page": Parser(_use_times, st.lists(st.integers(0, 9)).map(encode_times), DAMAGE),
}

# --- messages ---


def json_of(type_: Any) -> st.SearchStrategy[bytes]:
    """JSON objects with the members of a struct, and values that fit now and then."""
    leaves = st.one_of(
        st.sampled_from([None, True, 2**63, -(2**63), 2**64, 2**200, 1e300, 0.5]),
        st.integers(-3, 3),
        st.text(max_size=5),
        st.sampled_from(["vision", "v0", "a/b:v1", "sha256:" + "0" * 64, "chunk sha256:" + "0" * 64]),
        st.binary(max_size=5).map(lambda data: base64.b64encode(data).decode()),
    )
    inner_names = (name for inner in get_args(type_) for name in _members(inner))
    names = st.sampled_from([*_members(get_origin(type_) or type_), *inner_names, "more"])
    flat = leaves | st.lists(leaves, max_size=4) | st.dictionaries(names, leaves, max_size=4)
    values = flat | st.lists(flat, max_size=4) | st.dictionaries(names, flat, max_size=4)
    return st.dictionaries(names, values, max_size=8).map(lambda value: std_json.dumps(value).encode())


def _members(type_: Any) -> Iterable[str]:
    is_struct = isinstance(type_, type) and issubclass(type_, msgspec.Struct)
    return [field.encode_name for field in msgspec.structs.fields(type_)] if is_struct else []


def message(type_: Any) -> Parser:
    """A body as the server, or a client, takes it in; what it holds in text is parsed too."""

    def parse(data: bytes) -> None:
        found = json.decode(data, type_)
        if hasattr(found, "parsed"):
            found.parsed()
        if isinstance(found, Places):
            found.locations()

    errors: tuple[type[Exception], ...] = (InvalidValue, InvalidName)
    return Parser(parse, json_of(type_), (*errors, IndexError) if type_ is Places else errors)  # as `locations` says


def _beginning(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data + b"stored bytes"


BODIES = {operation.body for operation in OPERATIONS if operation.body is not None}
ANSWERS: list[Any] = [
    Hello,
    Places,
    Pages,
    Changes,
    Beginning,
    VersionRecord,
    RunRecord,
    Page[VersionRecord],
    ErrorBody,
]
MESSAGES = {
    **{
        f"a request's body: {body.__name__}": message(body)
        for body in sorted(BODIES, key=lambda body: str(body.__name__))
    },
    **{f"an answer: {getattr(answer, '__name__', answer)}": message(answer) for answer in ANSWERS},
    "an answer with a recipe": Parser(
        lambda data: parse_beginning(memoryview(data)),
        json_of(Beginning).map(_beginning),
        (InvalidValue, IndexError, ValueError),
    ),
}


def _answer(data: bytes) -> Answer:
    """An answer whose headers and body are of the bytes, cut where they say so."""
    head, _, body = data.partition(b"|")
    text = head.decode("latin-1")
    return Answer(206, {"Content-Range": text, "Retry-After": text, "Content-Type": "application/json"}, body)


def _use_range(data: bytes) -> None:
    found = parse_range(data.decode("latin-1"), 1000)
    assert found is None or 0 <= found.start <= found.end <= 1000 or found.start == found.end


def _told(data: bytes) -> None:
    assert isinstance(error_of(_answer(data), "https://it"), ArtfsError)
    assert 0 <= retry_after_s(_answer(data)) <= 3600


HEADERS_OF_HTTP = {
    "a Range header": Parser(
        _use_range, st.sampled_from([b"bytes=0-9", b"bytes=5-", b"bytes=-5", b"bytes=0-1,5-6"]), ()
    ),
    "a Content-Range header": Parser(
        lambda data: check_range(_answer(data), RangeRequest(60, 5), "it"),
        st.sampled_from([b"bytes 60-64/100|bytes", b"bytes 60-64/*|bytes"]),
        (RegistryUnavailable,),
    ),
    "an error that a server tells": Parser(
        _told, st.sampled_from([b'5|{"code": "not-found", "message": "m"}', b"120|x"]), ()
    ),
}

# --- what people write ---


def _config(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config.toml"
        path.write_bytes(data)
        load_config({}, {"ARTFS_CONFIG": str(path), "HOME": directory})


def _starts(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "x.start").write_bytes(data)
        list(StartFiles(Path(directory)).load())


def _credentials(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "credentials.json"
        path.touch(mode=0o600)
        path.write_bytes(data)
        find_token("https://a.b", path, {})


def _records(data: bytes) -> None:
    """Of mounts and of runs: one that cannot be read is none."""
    with tempfile.TemporaryDirectory() as directory:
        records = MountRecords(Path(directory), Path(directory))
        for name in ("mounts", "runs"):
            (Path(directory) / name).mkdir()
            (Path(directory) / name / "x.json").write_bytes(data)
        records.list()
        records.runs.list()


def _answers(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "answers.db").write_bytes(data)
        answers = AnswerFile(Path(directory) / "answers.db")
        list(answers.load())
        answers.close()


@cache
def answer_file() -> bytes:
    """One with an answer in it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "answers.db"
        answers = AnswerFile(path)
        answers.keep(Question(Kind.PROJECTS), [], 5)
        answers.close()
        return path.read_bytes()


CREDENTIALS = b'{"servers": {"https://a.b": "artfs_0_0"}}'
MOUNT_RECORD = (
    b'{"pid": 1, "started_ticks": 1, "mountpoint": "/m", "registry": "r", "started_at_ns": 1, "read_only": false,'
    b' "pin": false, "socket": "/s", "log": "/l"}'
)
RUN_RECORD = b'{"pid": 1, "started_ticks": 1, "run": {"project": "vision", "id": "x"}, "registry": "0"}'
CONFIG = b'registry = "/a"\ncache_size = "10GB"\nreference_hosts = "public a.b:1"\nlearn = "auto"\nlog_level = "info"\n'
START = msgspec.msgpack.encode((1, ("name", "vision", [(1, bytes(32), (5, 0, "file:/a", 60, 5, 0, b""), 0)])))
KEYS = b"one = " + base64.b64encode(bytes(32)) + b"\ncurrent = one\n"
REFS = ("vision/bikes:best/img/1.png", "vision/bikes:v0", "vision", "vision/bikes")

WRITTEN = {
    "a reference to a version": of_text(ArtifactRef.parse, *REFS),
    "a run": of_text(RunRef.parse, "vision/abc", "me/vision/abc"),
    "a version of an edge": of_text(VersionRef.parse, "vision/bikes:v3"),
    "a key of an object": of_text(ObjectKey.parse, "chunk sha256:" + "0" * 64, "tree sha256:" + "f" * 64),
    "a path": of_text(split_path, "a/b/c", "ü/x"),
    "an alias": of_text(check_alias, "best", "v1-old"),
    "a label": of_text(lambda text: check_label("group", text), "a group", "ü"),
    "a link's target": of_text(_pass_itself, "../a", "a/../../b", "/etc", errors=()),
    "a size": of_text(parse_size, "10GB", "1.5 GiB", "7", "100kb"),
    "a duration": of_text(parse_ttl_s, "90d", "12 h", "never"),
    "metadata": of_text(parse_metadata, '{"a": [1, {"b": null}], "c": 0.5}'),
    "a URL that is referred to": of_text(host_and_port, "https://a.b:443/x?y", "http://[::1]:80/", "https://user@h/"),
    "a file that is referred to": of_text(path_of, "file:///a/b%20c", "file://localhost/a"),
    "a name of what is referred to": of_text(name_of, "https://h/a/b%20c?x", "s3://b/k"),
    "a server's origin": of_text(origin_of, "https://h:1/x", "http://h", errors=(RegistryUnavailable,)),
    "a server": of_text(server_name, "https://a.b:7433", "a.b", "http://[::1]:80"),
    "a token": of_text(lambda text: checked_token(text, "it"), "artfs_0_0"),
    "a bucket": of_text(BucketUrl.parse, "s3://b/p?region=x&path_style=true", "gs://b", "az://c/p?account=a"),
    "an address to listen at": of_text(Listen, "127.0.0.1:80", "[::1]:0", "unix:/a"),
    "mount options": of_text(lambda text: parse_mount_options([text]), r"ro,pin,registry=/a\,b,noexec"),
    "encryption keys": Parser(
        lambda data: parse_keys(data.decode(errors="replace"), "it"), st.just(KEYS), (InvalidValue,)
    ),
    "a configuration": Parser(_config, st.just(CONFIG), (InvalidValue, StorageFailed)),
    "credentials": Parser(_credentials, st.just(CREDENTIALS), (StorageFailed,)),
    "a record of a mount": Parser(_records, st.sampled_from([MOUNT_RECORD, RUN_RECORD]), ()),
    "a file of remembered answers": Parser(_answers, st.builds(answer_file), ()),
    "what was learned of a start": Parser(_starts, st.just(START), ()),
}

PARSERS = {**STORED, **MESSAGES, **HEADERS_OF_HTTP, **WRITTEN}
