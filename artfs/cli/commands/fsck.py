"""`artfs fsck`: verify the registry, and mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.exit_codes import EXIT_CODES, OK
from artfs.cli.output import echo_json
from artfs.cli.progress import meter
from artfs.errors import InvalidValue
from artfs.model.sizes import format_size

if TYPE_CHECKING:
    from artfs.registry.findings import Finding, Report

COLORS = {"error": "red", "warning": "yellow", "info": "blue"}


@click.command(
    "fsck",
    epilog="""\b
Examples:
  artfs fsck             read and verify every byte that is stored
  artfs fsck --quick     structure only: databases, pack indexes, trees
  artfs fsck --repair    rebuild tables from packs, set damaged packs aside
  artfs fsck --reencrypt encrypt what is not encrypted with the current key""",
)
@click.option("--quick", is_flag=True, help="Do not read the content of files.")
@click.option("--repair", is_flag=True, help="Mend what can be mended, then check again.")
@click.option("--reencrypt", is_flag=True, help="Encrypt all packs with the current key, then check.")
@json_option
@pass_session
def command(session: Session, quick: bool, repair: bool, reencrypt: bool, as_json: bool) -> int:
    """Verify the registry: every finding with what it means, which versions it touches and what to do. Exit code 6
    if anything is wrong."""
    from artfs.assemble import check_own_registry, reencrypt_own_packs, repair_own_registry

    config = session.config
    if config.is_remote:
        raise InvalidValue(f"{config.registry} is not a directory", hint="run artfs fsck where the registry is")
    actions: list[str] = []
    with meter("fsck") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(phase=f"pack {done} of {total}", files=done, size_bytes=done, total_bytes=total)

        if repair:
            actions += repair_own_registry(config).actions
        if reencrypt:
            count = reencrypt_own_packs(config, lambda done: progress(done, done))
            actions.append(f"encrypted {count} packs with the current key")
        report = check_own_registry(config, deep=not quick, progress=progress)
    if as_json:
        echo_json(_json(report, actions))
    else:
        for action in actions:
            click.echo(f"{click.style('repaired', fg='green')}  {action}")
        for finding in report.findings:
            _show(finding)
        _summarize(report)
    return OK if report.is_clean else EXIT_CODES["damaged"]


def _show(finding: Finding) -> None:
    severity = finding.severity.value
    detail = f" ({finding.detail})" if finding.detail else ""
    click.echo(f"{click.style(severity, fg=COLORS[severity])}  {finding.code}: {finding.subject}{detail}")
    click.echo(f"    {finding.meaning}; {finding.action}")
    if finding.affected:
        click.echo(f"    touches {', '.join(finding.affected)}")


def _summarize(report: Report) -> None:
    seen = f"{report.pack_count} packs, {report.object_count} objects, {format_size(report.verified_bytes)} verified"
    if report.is_clean:
        click.echo(f"clean: {seen}")
        return
    click.echo(f"{seen}; {len(report.findings)} findings")
    if report.affected:
        click.echo(f"versions that cannot be read in full: {', '.join(report.affected)}")


def _json(report: Report, actions: list[str]) -> dict[str, Any]:
    return {
        "clean": report.is_clean,
        "packs": report.pack_count,
        "objects": report.object_count,
        "verified_bytes": report.verified_bytes,
        "repaired": actions,
        "affected": report.affected,
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity.value,
                "subject": finding.subject,
                "detail": finding.detail,
                "meaning": finding.meaning,
                "action": finding.action,
                "affected": list(finding.affected),
            }
            for finding in report.findings
        ],
    }
