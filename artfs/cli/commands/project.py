"""`artfs project`: units of access: who may see and change what is in them."""

from __future__ import annotations

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json, echo_table, local_time, project_json
from artfs.model.access import Role, Visibility

ROLES = [role.value for role in Role]
VISIBILITIES = [visibility.value for visibility in Visibility]


@click.group(
    "project",
    epilog="""\b
Examples:
  artfs project create vision --visibility public
  artfs project share vision bob writer
  artfs project visibility vision private
  artfs project members vision --json""",
)
def command() -> None:
    """Create, share, show or delete projects. docs/access.md has who may do what."""


@command.command("list")
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the projects that you may read."""
    projects = session.registry.projects.list()
    if as_json:
        echo_json([project_json(project) for project in projects])
        return
    rows = ((project.name, project.visibility.value, local_time(project.created_at_ns)) for project in projects)
    echo_table(("project", "visibility", "created"), rows)


@command.command("create")
@click.argument("project")
@click.option(
    "--visibility",
    type=click.Choice(VISIBILITIES),
    default="private",
    show_default=True,
    help="Who besides members may use it.",
)
@json_option
@pass_session
def create(session: Session, project: str, visibility: str, as_json: bool) -> None:
    """Create a project, of which you become the administrator."""
    record = session.registry.projects.create(project, visibility=Visibility(visibility))
    if as_json:
        echo_json(project_json(record))
    else:
        click.echo(f"created {record.name} ({record.visibility.value})")


@command.command("visibility")
@click.argument("project")
@click.argument("visibility", type=click.Choice(VISIBILITIES))
@pass_session
def visibility_(session: Session, project: str, visibility: str) -> None:
    """Say who besides members may use a project.

    private: nobody. public: every user reads. open: every user reads and writes.
    """
    record = session.registry.projects.update(project, visibility=Visibility(visibility))
    click.echo(f"{record.name} is {record.visibility.value}")


@command.command("members")
@click.argument("project")
@json_option
@pass_session
def members(session: Session, project: str, as_json: bool) -> None:
    """List a project's members and their roles."""
    found = session.registry.access.members.list(project)
    if as_json:
        echo_json([{"user": member.user, "role": member.role.value} for member in found])
        return
    echo_table(("user", "role"), ((member.user, member.role.value) for member in found))


@command.command("share")
@click.argument("project")
@click.argument("user")
@click.argument("role", type=click.Choice(ROLES))
@pass_session
def share(session: Session, project: str, user: str, role: str) -> None:
    """Make USER a member with a role, or change it.

    A reader reads. A writer also writes and deletes versions. An admin also changes members and visibility.
    """
    session.registry.access.members.set(project, user, Role(role))
    click.echo(f"{user} is {role} of {project}")


@command.command("unshare")
@click.argument("project")
@click.argument("user")
@pass_session
def unshare(session: Session, project: str, user: str) -> None:
    """End USER's membership."""
    session.registry.access.members.remove(project, user)
    click.echo(f"{user} is no member of {project}")


@command.command("delete")
@click.argument("project")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_session
def delete(session: Session, project: str, yes: bool) -> None:
    """Delete a project that has no artifacts; `artfs rm` deletes those."""
    if not yes:
        click.confirm(f"Delete {project}, with its list of members?", abort=True, err=True)
    session.registry.projects.delete(project)
    click.echo(f"deleted {project}")
