"""What a mount should show and answer, as plain Python: the model that random histories of mounts compare it with.

A path is a tuple of names from the mount's root. Every call answers what the system call would, or raises OSError with its errno;
what the kernel decides before any filesystem is asked is here too, since callers cannot tell who refused.
"""

from __future__ import annotations

import errno

from artfs.model.links import way_out
from artfs.model.names import NAME_BYTES_MAX, parse_version
from tests.property.mount_nodes import (
    EXCHANGE,
    LATEST,
    STAGING,
    Artifact,
    Directory,
    File,
    Link,
    Names,
    Node,
    Place,
    Project,
    Renaming,
    Seen,
    facts,
    frozen,
    refuse,
    walk,
)


class MountModel:
    """A registry and the drafts of the mounts that show it."""

    def __init__(self) -> None:
        self.projects: dict[str, Project] = {}

    # --- looking

    def artifact(self, path: Names) -> Artifact | None:
        project = self.projects.get(path[0]) if path else None
        return None if project is None or len(path) < 2 else project.artifacts.get(path[1])

    def root_of(self, mount: int, path: Names) -> tuple[str, Directory, Names] | None:
        """The version or draft that a path leads into: its world, its root, and what is left of the path."""
        artifact = self.artifact(path)
        if artifact is None or len(path) < 3:
            return None
        if path[2] == STAGING:
            draft = artifact.drafts.get((mount, path[3])) if len(path) > 3 else None
            return None if draft is None else ("draft", draft, path[4:])
        number = parse_version(path[2]) if parse_version(path[2]) is not None else artifact.aliases.get(path[2])
        version = None if number is None else artifact.versions.get(number)
        return None if version is None else ("version", version, path[3:])

    def find(self, mount: int, path: Names) -> Place | None:
        """What is at a path; None for nothing. Raises ENOTDIR, and ENOENT for what is missing on the way."""
        inside = self.root_of(mount, path)
        if inside is None:
            if self._is_catalog(path):
                return Place("catalog", None, path)
            if path and self.find(mount, path[:-1]) is None:
                refuse(errno.ENOENT)
            return None
        world, node, rest = inside[0], inside[1], inside[2]
        found: Node | None = node
        for name in rest:
            if found is None:
                refuse(errno.ENOENT)
            if not isinstance(found, Directory):
                refuse(errno.ENOTDIR)
            found = found.names.get(name)
        return None if found is None else Place(world, found, path)

    def _is_catalog(self, path: Names) -> bool:
        if len(path) < 2:
            return not path or path[0] in self.projects
        return self.artifact(path) is not None and path[2:] in ((), (STAGING,))

    def existing(self, mount: int, path: Names) -> Place:
        found = self.find(mount, path)
        return refuse(errno.ENOENT) if found is None else found

    def parent(self, mount: int, path: Names) -> Place:
        """The directory that a name is in. Raises ENOENT, ENOTDIR."""
        found = self.existing(mount, path[:-1])
        return refuse(errno.ENOTDIR) if isinstance(found.node, File | Link) else found

    def through_link(self, mount: int, path: Names) -> bool:
        """Whether the kernel would follow a symbolic link on the way, which the model does not."""
        inside = self.root_of(mount, path)
        if inside is None:
            return False
        node: Node | None = inside[1]
        for name in inside[2][:-1]:
            node = node.names.get(name) if isinstance(node, Directory) else None
            if isinstance(node, Link):
                return True
        return False

    def names_in(self, mount: int, path: Names) -> list[str]:
        """What listing a directory shows."""
        node = self.existing(mount, path).node
        if node is not None:
            return list(node.names) if isinstance(node, Directory) else refuse(errno.ENOTDIR)
        if len(path) < 2:
            return list(self.projects[path[0]].artifacts) if path else list(self.projects)
        artifact = self.artifact(path)
        assert artifact is not None
        if len(path) == 3:
            return [name for of, name in artifact.drafts if of == mount]
        return [STAGING, *artifact.aliases, *(f"v{number}" for number in artifact.versions)]

    def expected(self, mount: int) -> dict[Names, Seen]:
        """Everything that a walk of the mount finds."""
        found: dict[Names, Seen] = {}
        pending: list[Names] = [()]
        while pending:
            path = pending.pop()
            place = self.existing(mount, path)
            found[path] = self._seen(mount, place)
            if found[path].kind == "directory":
                pending += [(*path, name) for name in self.names_in(mount, path)]
        return found

    def _seen(self, mount: int, place: Place) -> Seen:
        node = place.node
        if isinstance(node, Link):
            return Seen("link", 0o777, self._links(mount, place), node.target)
        if node is None:
            return Seen("directory", 0o755)
        xattrs = tuple(sorted(node.xattrs.items()))
        if isinstance(node, Directory):
            return Seen("directory", node.mode, self._links(mount, place), None, xattrs)
        return Seen("file", node.mode, self._links(mount, place), node.content, xattrs)

    def _links(self, mount: int, place: Place) -> int | None:
        if place.world != "draft":
            return None
        node = place.node
        if isinstance(node, Directory):
            return 2 + sum(isinstance(below, Directory) for below in node.names.values())
        inside = self.root_of(mount, place.path)
        assert inside is not None
        return sum(one is node for _, one in walk(inside[1]))

    # --- changing, through a mount

    def mkdir(self, mount: int, path: Names) -> None:
        parent = self.parent(mount, path)
        if self.find(mount, path) is not None:
            refuse(errno.EEXIST)
        if isinstance(parent.node, Directory):
            self._draft_only(parent)
            parent.node.names[path[-1]] = Directory()
        elif len(path) == 3:
            refuse(errno.EPERM)
        elif len(path) == 4:
            if path[-1].startswith("."):
                refuse(errno.EINVAL)
            artifact = self.artifact(path)
            assert artifact is not None
            artifact.drafts[mount, path[-1]] = Directory()
        else:
            _check_name(path[-1])
            if len(path) == 1:
                self.projects[path[0]] = Project()
            else:
                self.projects[path[0]].artifacts[path[1]] = Artifact()

    def rmdir(self, mount: int, path: Names) -> None:
        parent, found = self.parent(mount, path), self.existing(mount, path)
        if isinstance(found.node, File | Link):
            refuse(errno.ENOTDIR)
        if isinstance(parent.node, Directory):
            self._draft_only(parent)
            if isinstance(found.node, Directory) and found.node.names:
                refuse(errno.ENOTEMPTY)
            del parent.node.names[path[-1]]
        elif len(path) == 4:
            self._remove_draft(mount, path)
        elif len(path) == 3:
            if path[2] == STAGING or parse_version(path[2]) is not None:
                refuse(errno.EPERM)
            artifact = self.artifact(path)
            assert artifact is not None
            del artifact.aliases[path[2]]
        else:
            self._remove_catalog(mount, path)

    def _remove_draft(self, mount: int, path: Names) -> None:
        artifact = self.artifact(path)
        assert artifact is not None
        if artifact.drafts[mount, path[3]].names:
            refuse(errno.ENOTEMPTY)
        del artifact.drafts[mount, path[3]]

    def _remove_catalog(self, mount: int, path: Names) -> None:
        if len(path) == 1:
            if self.projects[path[0]].artifacts:
                refuse(errno.ENOTEMPTY)
            del self.projects[path[0]]
            return
        artifact = self.artifact(path)
        assert artifact is not None
        if artifact.versions or any(of == mount for of, _ in artifact.drafts):
            refuse(errno.ENOTEMPTY)
        del self.projects[path[0]].artifacts[path[1]]

    def write(self, mount: int, path: Names, data: bytes, *, append: bool = False) -> None:
        """open(O_CREAT | O_TRUNC) or open(O_APPEND), write, close."""
        parent, found = self.parent(mount, path), self.find(mount, path)
        if found is None:
            if append:
                refuse(errno.ENOENT)
            self._draft_only(parent)
            assert isinstance(parent.node, Directory)
            parent.node.names[path[-1]] = File(data)
            return
        file = self._file(found)
        file.content = file.content + data if append else data

    def truncate(self, mount: int, path: Names, size: int) -> None:
        file = self._file(self.existing(mount, path))
        file.content = file.content[:size].ljust(size, b"\0")

    def chmod(self, mount: int, path: Names, mode: int) -> None:
        found = self.existing(mount, path)
        self._draft_only(found)
        assert isinstance(found.node, File | Directory)
        found.node.mode = mode

    def set_xattr(self, mount: int, path: Names, name: str, value: bytes) -> None:
        self._attributes(self.existing(mount, path))[name] = value

    def remove_xattr(self, mount: int, path: Names, name: str) -> None:
        found = self.existing(mount, path)
        if found.world == "version" and len(path) == 3:
            refuse(errno.ENODATA)
        if self._attributes(found).pop(name, None) is None:
            refuse(errno.ENODATA)

    def _attributes(self, found: Place) -> dict[str, bytes]:
        self._draft_only(found)
        assert isinstance(found.node, File | Directory)
        return found.node.xattrs if len(found.path) > 4 else refuse(errno.ENOTSUP)  # a version's root has none

    def symlink(self, mount: int, path: Names, target: str) -> None:
        parent = self.parent(mount, path)
        if self.find(mount, path) is not None:
            refuse(errno.EEXIST)
        self._draft_only(parent)
        assert isinstance(parent.node, Directory)
        parent.node.names[path[-1]] = Link(target)

    def link(self, mount: int, old: Names, new: Names) -> None:
        found, parent = self.existing(mount, old), self.parent(mount, new)
        if self.find(mount, new) is not None:
            refuse(errno.EEXIST)
        if found.node is None or isinstance(found.node, Directory):
            refuse(errno.EPERM)
        self._draft_only(parent)
        assert isinstance(parent.node, Directory)
        if found.world == "version":
            if old[0] != new[0]:
                refuse(errno.EXDEV)
            parent.node.names[new[-1]] = _borrowed(found.node)
            return
        if old[:4] != new[:4]:
            refuse(errno.EXDEV)
        parent.node.names[new[-1]] = found.node

    def unlink(self, mount: int, path: Names) -> None:
        parent, found = self.parent(mount, path), self.existing(mount, path)
        if not isinstance(found.node, File | Link):
            refuse(errno.EISDIR)
        self._draft_only(parent)
        assert isinstance(parent.node, Directory)
        del parent.node.names[path[-1]]

    def rename(self, mount: int, old: Names, new: Names, flags: int) -> None:
        source, target = self.parent(mount, old), self.parent(mount, new)
        moved, replaced = self.existing(mount, old), self.find(mount, new)
        kernel = Renaming(old, new, flags)
        same = replaced is not None and (old == new or (moved.node is replaced.node is not None))
        kinds = _is_directory(moved), None if replaced is None else _is_directory(replaced)
        if not kernel.asks_filesystem(*kinds, same=same):
            return
        if "version" in (source.world, target.world):
            refuse(errno.EROFS)
        if isinstance(source.node, Directory) and isinstance(target.node, Directory):
            self._rename_in_draft(source, target, kernel)
        elif source.node is not None or target.node is not None:
            refuse(errno.EXDEV)
        elif len(old) == 4:
            self._rename_draft(mount, kernel, replaced is not None)
        else:
            self._rename_alias(kernel)

    def _rename_in_draft(self, source: Place, target: Place, kernel: Renaming) -> None:
        assert isinstance(source.node, Directory)
        assert isinstance(target.node, Directory)
        if source.path[:4] != target.path[:4]:
            refuse(errno.EXDEV)
        here, there, name, new_name = source.node.names, target.node.names, kernel.old[-1], kernel.new[-1]
        if kernel.flags & EXCHANGE:
            here[name], there[new_name] = there[new_name], here[name]
            return
        replaced = there.get(new_name)
        if isinstance(replaced, Directory) and replaced.names:
            refuse(errno.ENOTEMPTY)
        there[new_name] = here.pop(name)

    def _rename_draft(self, mount: int, kernel: Renaming, exists: bool) -> None:
        old, new = kernel.old, kernel.new
        if len(new) < 3:
            refuse(errno.EPERM)
        if old[0] != new[0]:
            refuse(errno.EXDEV)
        if kernel.flags & EXCHANGE:
            refuse(errno.EINVAL)
        if len(new) == 3:
            self.commit(mount, old, new)
            return
        if new[3].startswith("."):
            refuse(errno.EINVAL)
        source, target = self.artifact(old), self.artifact(new)
        assert source is not None
        assert target is not None
        if exists:
            self._remove_draft(mount, new)
        target.drafts[mount, new[3]] = source.drafts.pop((mount, old[3]))

    def _rename_alias(self, kernel: Renaming) -> None:
        old, new = kernel.old, kernel.new
        if old[:-1] != new[:-1] or kernel.flags & EXCHANGE or len(old) != 3:
            refuse(errno.EPERM)
        if old[2] in (STAGING, LATEST) or parse_version(old[2]) is not None:
            refuse(errno.EPERM)
        _check_alias(new[2])
        artifact = self.artifact(old)
        assert artifact is not None
        artifact.aliases[new[2]] = artifact.aliases.pop(old[2])

    def commit(self, mount: int, draft: Names, alias: Names) -> None:
        _check_alias(alias[2])
        artifact, target = self.artifact(draft), self.artifact(alias)
        assert artifact is not None
        assert target is not None
        root = artifact.drafts[mount, draft[3]]
        links = {path: node.target for path, node in walk(root) if isinstance(node, Link)}
        if any(way_out(path[:-1], target, links.get) is not None for path, target in links.items()):
            refuse(errno.EINVAL)
        self.seal(alias[:2], root, [alias[2]])
        del artifact.drafts[mount, draft[3]]

    # --- changing, by whoever

    def seal(self, place: Names, root: Directory, aliases: list[str]) -> None:
        """A version of `root`, unless the newest one is the same; `latest` and the aliases mean it."""
        artifact, numbers = self.artifact(place), self.projects[place[0]].numbers
        if artifact is None:
            artifact = self.projects[place[0]].artifacts[place[1]] = Artifact()
        newest = max(artifact.versions, default=None)
        if newest is None or facts(artifact.versions[newest])[0] != facts(root)[0]:  # type: ignore[index]  # of directories
            newest = numbers.get(place[1], 0)
            numbers[place[1]] = newest + 1
            made = frozen(root)
            assert isinstance(made, Directory)
            made.xattrs.clear()
            artifact.versions[newest] = made
        artifact.aliases |= dict.fromkeys((LATEST, *aliases), newest)

    def delete(self, place: Names, numbers: list[int]) -> None:
        """`artfs rm --delete-aliases`."""
        artifact = self.artifact(place)
        assert artifact is not None
        for number in numbers:
            del artifact.versions[number]
        artifact.aliases = {alias: n for alias, n in artifact.aliases.items() if n not in numbers}

    # ---

    def _draft_only(self, place: Place) -> None:
        """Raises what a change is refused with where nothing may be changed."""
        if place.world != "draft":
            refuse(errno.EROFS if place.world == "version" else errno.EPERM)

    def _file(self, found: Place) -> File:
        if not isinstance(found.node, File):
            refuse(errno.EISDIR)
        self._draft_only(found)
        return found.node


def _is_directory(place: Place) -> bool:
    return place.node is None or isinstance(place.node, Directory)


def _borrowed(node: File | Link) -> File | Link:
    if isinstance(node, Link):
        return Link(node.target)
    return File(node.content, 0o755 if node.mode & 0o111 else 0o644, dict(node.xattrs), borrowed=True)


def _check_name(name: str) -> None:
    if (
        name[0] in ".-"
        or len(name) > NAME_BYTES_MAX
        or not all(c.isascii() and (c.isalnum() or c in "_-.") for c in name)
    ):
        refuse(errno.EINVAL)


def _check_alias(name: str) -> None:
    _check_name(name)
    if name[0] == "v" and name[1:].isdigit():
        refuse(errno.EINVAL)
