"""Precedence of settings, and what a bad one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from artfs.config import CacheMode, load_config
from artfs.errors import InvalidValue


def write(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return {"ARTFS_CONFIG": str(file)}


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    env = write(tmp_path, 'registry = "/from/file"\ncache_size = "5GB"\n')
    assert load_config({}, {}).sources["registry"] == "default"
    assert load_config({}, env).registry == "/from/file"
    env["ARTFS_REGISTRY"] = "/from/environment"
    assert load_config({"registry": None}, env).registry == "/from/environment"
    config = load_config({"registry": "/from/command/line"}, env)
    assert config.registry == "/from/command/line"
    assert config.cache_size_bytes == 5_000_000_000
    assert config.sources["registry"] == "command line"
    assert config.sources["cache_size"] == env["ARTFS_CONFIG"]


def test_references_are_followed_to_public_hosts_unless_configured_otherwise(tmp_path: Path) -> None:
    config = load_config({}, {})
    assert (config.reference_schemes, config.reference_hosts) == (("https", "http", "s3", "file"), ("public",))
    assert config.has_own_files
    assert not load_config({"registry": "https://example.org"}, {}).has_own_files
    assert not load_config({"database": "postgresql://db/artfs"}, {}).has_own_files
    env = write(tmp_path, 'reference_hosts = "public, *.corp.example localhost:9000"\nreference_schemes = "s3,https"\n')
    config = load_config({}, env)
    assert config.reference_hosts == ("public", "*.corp.example", "localhost:9000")
    assert config.reference_schemes == ("s3", "https")


def test_a_mount_for_others_follows_references_to_files_only_if_it_is_told_to() -> None:
    assert load_config({}, {}).for_others().reference_schemes == ("https", "http", "s3")
    told = load_config({}, {"ARTFS_REFERENCE_SCHEMES": "https,file"})
    assert told.for_others().reference_schemes == ("https", "file")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_config({}, {"ARTFS_REGISTRY": ""}).sources["registry"] == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("registry = ", "not valid TOML"),
        ("regstry = '/x'", "unknown setting 'regstry'"),
        ("cache_size = 'lots'", "cache_size from"),
        ("cache = 'sometimes'", "cache from"),
        ("log_level = 'loud'", "log_level from"),
        ("learn = 'sometimes'", "learn from"),
        ("reference_schemes = 'gopher'", "reference_schemes from"),
        ("reference_hosts = 'https://example.org'", "reference_hosts from"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong_in_it(tmp_path: Path, text: str, said: str) -> None:
    env = write(tmp_path, text)
    with pytest.raises(InvalidValue, match=said) as raised:
        load_config({}, env)
    assert env["ARTFS_CONFIG"] in raised.value.message


def test_paths_expand_and_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config({"registry": "~/r"}, {"ARTFS_CACHE_DIR": "~/c"})
    assert config.registry_dir == tmp_path / "r"
    assert config.cache_dir == tmp_path / "c"
    assert not config.is_remote
    assert load_config({"registry": "https://example.org"}, {}).is_remote
    assert config.cache is CacheMode.AUTO


def test_a_registry_in_a_database_is_described_without_its_password() -> None:
    config = load_config(
        {"database": "postgresql://ann:secret@db:5432/artfs?sslmode=require", "storage": "s3://bucket/p?region=x"}, {}
    )
    assert config.described_registry == "postgresql://db:5432/artfs with packs in s3://bucket/p"
    assert config.is_shared
    assert config.is_in_bucket


def test_a_database_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidValue, match="database"):
        load_config({"database": "mysql://db/artfs"}, {})


def test_sqlite_names_the_registrys_directory_or_the_file_in_it(tmp_path: Path) -> None:
    for text in (f"sqlite:{tmp_path}", f"sqlite:{tmp_path / 'registry.db'}"):
        assert load_config({"database": text}, {}).registry_dir == tmp_path


@pytest.mark.parametrize("text", ["s3:bucket", "ftp://host/packs", "s3:/bucket"])
def test_storage_that_is_neither_a_directory_nor_a_bucket_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="storage"):
        load_config({"storage": text}, {})
