"""What a mount and commands read of a W&B server, as an `ObjectSource`: trees of manifests, and files as references."""

from __future__ import annotations

from collections.abc import Sequence

from artfs.client.references.reader import ReferenceReader
from artfs.errors import ObjectMissing
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.reference import Reference, decode_reference
from artfs.vfs.ports import Bytes, DatedPage, OpenReference, Part
from artfs.wandb_client.births import Births, content_name
from artfs.wandb_client.trees import Trees


class WandbObjects:
    """Implements `ObjectSource`. Safe from any thread."""

    replay = None  # starts of programs are not learned from

    def __init__(self, trees: Trees, births: Births, references: ReferenceReader) -> None:
        self._trees = trees
        self._births = births
        self._references = references

    def close(self) -> None:
        """Nothing is open here."""

    def status(self) -> dict[str, int]:
        """Numbers for `artfs status`."""
        return self._trees.status()

    def read(self, project: str, key: ObjectKey, *, part: Part | None = None) -> Bytes:
        if key.kind is ObjectKind.RECIPE:
            raise ObjectMissing(f"a W&B server has no {key}")
        return self._trees.object(key.digest)

    def read_many(self, project: str, keys: Sequence[ObjectKey], *, beside: bool = True, ahead: int = 0) -> list[Bytes]:
        return [self.read(project, key) for key in keys]

    def peek(self, project: str, key: ObjectKey) -> Bytes | None:
        return None

    @property
    def has_cache(self) -> bool:
        return False

    def held(self, project: str, keys: Sequence[ObjectKey], *, ahead: int = 0) -> list[Bytes]:
        return []

    def held_page(self, project: str, digest: Digest) -> DatedPage | None:
        return self._trees.peek(digest)

    def page(self, project: str, digest: Digest) -> DatedPage:
        return self._trees.page(digest)

    def peek_page(self, project: str, digest: Digest) -> DatedPage | None:
        return self._trees.peek(digest)

    def prepare(self, project: str, keys: Sequence[ObjectKey]) -> None:
        """All places are known."""

    def open_references(self, project: str, files: Sequence[tuple[FileContent, str]]) -> list[OpenReference]:
        return [self._opened(project, content, name) for content, name in files]

    def _opened(self, project: str, content: FileContent, name: str) -> OpenReference:
        is_file = self._births.of(content.digest) is not None
        subject = content_name(content.digest) if is_file else content.digest
        return self._references.open(project, subject, self._descriptor(content, name))

    def _descriptor(self, content: FileContent, name: str) -> Reference:
        """Of a file of the server, or of what is elsewhere. Raises ObjectMissing."""
        if self._births.of(content.digest) is not None:
            return self._births.reference(content.digest, content.size_bytes, name)
        return decode_reference(self._trees.object(content.digest))
