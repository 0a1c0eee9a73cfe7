"""Where implementations are chosen: from a configuration to an open client, or to what a mount is made of.

Nothing else constructs a registry, a cache or a staging area.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artfs.config import CacheMode, Config, LearnMode, load_config
from artfs.errors import InvalidValue
from artfs.store.durable import make_private, reported

CACHE_SHARE = 8  # of what a start was learned to need, at most this part of the cache is fetched ahead

MANIFESTS_BYTES_MAX = 2 << 30  # of a W&B server, compressed, on local disk

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.client import Client
    from artfs.client.learned.starts import Starts
    from artfs.client.references.references import References
    from artfs.client.references.source import Source
    from artfs.client.remembered.registry import RememberingRegistry
    from artfs.fuse.mount_records import MountRecords
    from artfs.registry.findings import Report
    from artfs.registry.fsck import Progress
    from artfs.registry.repair import RepairReport
    from artfs.registry.resources import Verify
    from artfs.registry.sql_registry import SqlRegistry
    from artfs.store.packs import PackStore
    from artfs.vfs.door import Door
    from artfs.vfs.kernel import KernelCaches
    from artfs.vfs.ports import Catalog, ObjectSource
    from artfs.vfs.staging_port import StagingArea
    from artfs.vfs.view import View
    from artfs.wandb_client.address import WandbAddress
    from artfs.wandb_client.registry import WandbRegistry
    from artfs.wire.deletions import Collected
    from artfs.wire.service import Registry


def configured(settings: Mapping[str, str | None]) -> Config:
    """The configuration of this process; `settings` given in code win over all others. Raises InvalidValue."""
    return load_config(settings, os.environ)


def open_registry(config: Config) -> Registry:
    """Raises InvalidValue for a registry this artfs cannot speak to, and what opening one raises."""
    if not config.is_remote:
        return open_own_registry(config)
    if config.is_wandb:
        return _open_wandb_registry(config)
    if not config.registry.startswith(("http://", "https://")):
        raise InvalidValue(
            f"{config.registry!r} is not a registry", hint="name a directory, or a server: https://HOST:PORT"
        )
    from artfs.client.credentials import find_token
    from artfs.client.remote.registry import RemoteRegistry

    token = find_token(config.registry, config.credentials, os.environ)
    spool = config.data_dir / "spool"
    registry = RemoteRegistry(config.registry, token, spool=spool, ca_file=config.ca_file)
    return remembering(config, registry, as_whom=token)


def _open_wandb_registry(config: Config) -> WandbRegistry:
    from artfs.wandb_client.registry import WandbRegistry

    return WandbRegistry(*_wandb_place(config), ca_file=config.ca_file, hosts=config.reference_hosts)


def _wandb_place(config: Config) -> tuple[WandbAddress, str]:
    """The server and entity, and the key to it."""
    from artfs.wandb_client.address import parse_address
    from artfs.wandb_client.credentials import find_api_key

    address = parse_address(config.registry)
    return address, find_api_key(address, os.environ, Path.home())


def open_own_registry(config: Config, *, trusted: bool = True) -> SqlRegistry:
    """The registry that this machine holds or administers, open to everything.

    Args:
        trusted: packs are written by this process; otherwise all that arrives is verified.

    Raises InvalidValue for a registry that is on a server: it is opened there.
    """
    if config.is_remote and not config.database:
        raise InvalidValue(
            f"{config.registry} is on a server, not on this machine", hint="name a directory: artfs --registry DIR"
        )
    from artfs.registry.embedded import EmbeddedRegistry
    from artfs.registry.resources import Verify

    verify = Verify.METADATA if trusted else Verify.ALL
    if config.is_shared:
        return _open_shared_registry(config, verify)
    return EmbeddedRegistry(config.registry_dir, store=_other_store(config), verify=verify)


def open_store(config: Config) -> PackStore:
    """Where the packs of the registry are that this machine opens itself."""
    from artfs.store.packs import LocalPackStore

    if config.is_in_bucket:
        if config.encryption_keys:
            raise InvalidValue(
                "encryption keys are for packs in a directory", hint="let the bucket encrypt: s3://BUCKET?sse=AES256"
            )
        from artfs.store.object_store import ObjectStore

        return ObjectStore(config.storage)
    root = Path(config.storage).expanduser().absolute() if config.storage else config.registry_dir
    with reported("create", root):
        make_private(root)
    store = LocalPackStore(root / "packs", root / "quarantine")
    if not config.encryption_keys:
        return store
    from artfs.store.encrypted import EncryptedPackStore
    from artfs.store.encryption_keys import load_keys

    return EncryptedPackStore(store, load_keys(config.encryption_keys, os.environ))


def _other_store(config: Config) -> PackStore | None:
    """The store of packs that are not plainly in the registry's directory."""
    return open_store(config) if config.storage or config.encryption_keys else None


def _open_shared_registry(config: Config, verify: Verify) -> SqlRegistry:
    """A registry in PostgreSQL: this machine holds nothing of it but packs on their way."""
    import time

    from artfs.registry.layout import IDENTITY_BYTES
    from artfs.registry.migrations import migrate, settle_identity
    from artfs.registry.postgres import PostgresDatabase
    from artfs.registry.resources import Resources
    from artfs.registry.sql_registry import SqlRegistry

    spool = config.registry_dir / "spool"
    with reported("create", spool):
        make_private(spool)
    store = open_store(config)
    database = PostgresDatabase(config.database)
    try:
        migrate(database)
        identity = settle_identity(database, os.urandom(IDENTITY_BYTES).hex())
        resources = Resources(
            database=database,
            store=store,
            spool=spool,
            maintenance_lock=database.maintenance_lock,
            clock=time.time_ns,
            random_bytes=os.urandom,
            verify=verify,
            after_change=lambda: None,  # PostgreSQL has backups of its own
        )
        return SqlRegistry(identity, resources)
    except BaseException:
        database.close()
        raise


def check_own_registry(config: Config, *, deep: bool, progress: Progress) -> Report:
    """What `artfs fsck` finds in the registry that this machine opens itself."""
    from artfs.registry.fsck import check, check_registry

    if not config.is_shared:
        return check(config.registry_dir, store=_other_store(config), deep=deep, progress=progress)
    registry = open_own_registry(config)
    try:
        return check_registry(registry.resources, deep=deep, progress=progress)
    finally:
        registry.close()


def repair_own_registry(config: Config) -> RepairReport:
    """What `artfs fsck --repair` does."""
    if config.is_shared:
        raise InvalidValue(
            "a registry in PostgreSQL is not repaired from its packs", hint="restore the database from its backup"
        )
    from artfs.registry.repair import repair

    return repair(config.registry_dir, store=_other_store(config))


def collect_own_registry(config: Config, *, dry_run: bool) -> Collected:
    """What `artfs gc` does, or would do."""
    registry = open_own_registry(config)
    try:
        return registry.collection.plan() if dry_run else registry.collection.collect()
    finally:
        registry.close()


def reencrypt_own_packs(config: Config, progress: Callable[[int], None]) -> int:
    """Encrypt all packs with the current key that are not, and return how many were not."""
    from artfs.store.encrypted import EncryptedPackStore, reencrypt

    store = open_store(config)
    if not isinstance(store, EncryptedPackStore):
        raise InvalidValue("there are no encryption keys", hint="set encryption_keys, see docs/operations.md")
    registry = open_own_registry(config)
    try:
        with registry.resources.maintenance_lock(wait=True):
            return reencrypt(store, registry.spool, progress=progress)
    finally:
        registry.close()


def remembering(config: Config, inner: Registry, as_whom: str = "") -> RememberingRegistry:
    """`inner`, a registry over a network, with what this machine remembers of it; closing it closes `inner`.

    Args:
        as_whom: the token: what one user was told, another is not.
    """
    from hashlib import sha256

    from artfs.client.remembered.answer_file import AnswerFile
    from artfs.client.remembered.registry import RememberingRegistry

    # Not the identity: that is not known before the registry answers.
    name = sha256(f"{config.registry} {as_whom}".encode()).hexdigest()[:32]
    return RememberingRegistry(inner, AnswerFile(config.state_dir / "catalog" / f"{name}.db"))


def learned_starts(config: Config, registry: Registry) -> Starts | None:
    """What this user's mounts of the registry learned of how programs start; None where nothing is to be learned."""
    far = config.is_remote or config.is_in_bucket
    if config.learn is LearnMode.NEVER or not far or config.is_wandb:
        return None
    from hashlib import sha256

    from artfs.client.learned.start_files import StartFiles
    from artfs.client.learned.starts import BYTES_MAX, Starts

    remembered = remembered_part(registry)
    name = registry.identity if remembered is None else remembered.file.name
    files = StartFiles(config.state_dir / "learned" / sha256(name.encode()).hexdigest()[:32])
    return Starts(files.load(), files.keep, bytes_max=min(BYTES_MAX, config.cache_size_bytes // CACHE_SHARE))


def open_cache(config: Config, identity: str = "") -> ObjectCache:
    """The cache on local disk, for the objects of the registry with this identity."""
    from artfs.cache.object_cache import ObjectCache

    return ObjectCache(config.cache_dir / "objects", config.cache_size_bytes, identity)


def open_client(config: Config, registry: Registry, starts: Starts | None = None) -> Client:
    """A client of the open `registry`; closing the client closes both.

    Args:
        starts: see `learned_starts`; for a mount.
    """
    from artfs.client.client import Client

    is_far = config.is_remote or config.is_in_bucket
    cached = config.cache is CacheMode.ALWAYS or (config.cache is CacheMode.AUTO and is_far)
    may_cache = config.cache is not CacheMode.NEVER  # what references refer to is far, wherever the registry is
    disk = open_cache(config, registry.identity) if may_cache else None
    cache = disk if cached else None
    if config.is_wandb:
        return _open_wandb_client(config, registry, disk)
    references = open_references(config, disk)
    if not config.is_remote:
        return _open_own_client(config, registry, cache, references, starts)
    from artfs.client.remote.packs import HttpPacks
    from artfs.client.remote.recipes import RemoteRecipes
    from artfs.client.remote.registry import RemoteRegistry
    from artfs.client.remote.transfers import RemotePages
    from artfs.client.windows import PackWindows

    remembered = remembered_part(registry)
    assert remembered is not None
    assert isinstance(remembered.inner, RemoteRegistry)
    packs = HttpPacks(remembered.inner.transport)
    windows = PackWindows(packs)
    return Client(
        registry,
        cache,
        packs=packs,
        windows=windows,
        dates=remembered.file,
        references=references,
        starts=starts,
        recipes=RemoteRecipes(remembered.inner.transport),
        far_pages=remembered.noticed_pages(RemotePages(remembered.inner.transport)),
    )


def _open_wandb_client(config: Config, registry: Registry, cache: ObjectCache | None) -> Client:
    from artfs.client.client import Client
    from artfs.wandb_client.births import SCHEME, Births
    from artfs.wandb_client.manifest_files import ManifestFiles
    from artfs.wandb_client.manifests import Manifests
    from artfs.wandb_client.objects import WandbObjects
    from artfs.wandb_client.source import WandbSource
    from artfs.wandb_client.trees import Trees

    registry = wandb_part(registry)
    files = None
    if cache is not None:
        directory = config.cache_dir / "wandb" / registry.identity
        files = ManifestFiles(directory, min(MANIFESTS_BYTES_MAX, config.cache_size_bytes // CACHE_SHARE))
    address, key = _wandb_place(config)
    source = WandbSource(address.url, key, ca_file=config.ca_file, hosts=config.reference_hosts)
    references = open_references(config, cache, {SCHEME: source})
    births = Births()
    manifests = Manifests(registry.manifest, files)
    trees = Trees(births, registry.version_of, manifests.read, registry.created_at_ns)
    objects = WandbObjects(trees, births, references.reader)
    return Client(registry, cache, references=references, objects=objects)


def _open_own_client(
    config: Config, registry: Registry, cache: ObjectCache | None, references: References, starts: Starts | None
) -> Client:
    """A client of a registry that this machine opens itself: packs are at hand, encrypted, or in a bucket."""
    from artfs.client.client import Client

    if not config.is_in_bucket and not config.encryption_keys:
        return Client(registry, cache, references=references)
    from artfs.client.pack_source import LocalPacks, PackSources, StoredPacks

    if not config.is_in_bucket:
        sources = PackSources({"file": LocalPacks(), "store": StoredPacks(open_store(config))})
        return Client(registry, cache, packs=sources, references=references)
    from artfs.client.remote.packs import HttpPacks
    from artfs.client.remote.transport import Transport
    from artfs.client.windows import PackWindows

    nobody = "https://bucket.invalid"  # there is no server: all URLs are absolute, and signed
    packs = HttpPacks(Transport(nobody, "", ca_file=config.ca_file))
    return Client(registry, cache, packs=packs, windows=PackWindows(packs), references=references, starts=starts)


def open_references(
    config: Config, cache: ObjectCache | None, sources: Mapping[str, Source] | None = None
) -> References:
    """Which references are followed, and where what they refer to is kept; `sources` are for schemes besides."""
    from artfs.client.references.policy import Policy
    from artfs.client.references.references import References

    policy = Policy(config.reference_schemes, config.reference_hosts, files=config.has_own_files)
    seen = None if config.cache is CacheMode.NEVER else config.cache_dir / "references.db"
    return References(policy, cache=cache, seen=seen, ca_file=config.ca_file, environ=os.environ, sources=sources)


def remembered_part(registry: Registry) -> RememberingRegistry | None:
    """What is remembered of `registry`, if anything is."""
    from artfs.client.remembered.registry import RememberingRegistry

    return registry if isinstance(registry, RememberingRegistry) else None


def wandb_part(registry: Registry) -> WandbRegistry:
    """`registry`, which is what a W&B server has."""
    from artfs.wandb_client.registry import WandbRegistry

    assert isinstance(registry, WandbRegistry)
    return registry


def asked_anew(registry: Registry) -> Registry:
    """`registry` without what is remembered of it: for deciding what to delete."""
    remembering_part = remembered_part(registry)
    return registry if remembering_part is None else remembering_part.inner


def staging_root(config: Config, identity: str) -> Path:
    """Where the drafts of the registry with this identity are on this machine."""
    return config.data_dir / "staging" / identity


def mount_records(config: Config) -> MountRecords:
    """Where this user's mounts are written down."""
    from artfs.fuse.mount_records import MountRecords

    return MountRecords(config.state_dir, config.runtime_dir)


def creator() -> str:
    """Who versions say made them: `user@host`."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class MountBackend:
    """What `artfs.fuse` serves: an open client, and staging beside it. Made in the mount process, after the fork."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.registry = open_registry(config)
        self._client = open_client(config, self.registry, learned_starts(config, self.registry))
        if config.is_wandb:
            self.registry.projects.list()  # what is wrong with key or server is said to who mounts
        self._remembering = remembered_part(self.registry)
        if self._remembering is not None:
            self._remembering.load()
            if self._client.objects.replay is not None:
                self._remembering.refresh.met = self._client.objects.replay.foresee

    @property
    def source(self) -> ObjectSource:
        return self._client.objects

    @property
    def known(self) -> Catalog | None:
        if self._config.is_wandb:
            return wandb_part(self.registry).known
        return None if self._remembering is None else self._remembering.known

    def open_staging(self, view: View, door: Door, kernel: KernelCaches) -> StagingArea | None:
        from artfs.vfs.staging.area import Staging

        if view.read_only:
            return None
        root = staging_root(self._config, self.registry.identity)
        return Staging(root, self.source, self._client.uploads, door, created_by=creator())

    def status(self) -> Mapping[str, Any]:
        """`registry` is of the connection to a registry over a network, `disk` of the cache on local disk."""
        shown: dict[str, Any] = {"memory": self._client.objects.status()}
        shown["references"] = self._client.references.reader.status()
        if self._remembering is not None:
            shown["registry"] = self._remembering.status()
        if self._client.cache is not None:
            shown["disk"] = self._client.cache.status()
        return shown

    def close(self) -> None:
        self._client.close()
