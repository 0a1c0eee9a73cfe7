"""scripts/services with the real PostgreSQL and S3 server: started once, stopped whole, started again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

SERVICES = Path(__file__).parents[2] / "scripts" / "services"

pytestmark = [pytest.mark.postgres, pytest.mark.s3]


def services(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SERVICES, *arguments], capture_output=True, text=True, timeout=100)


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="artfs-services-"))  # pytest's own is closed to the user postgres
    yield made
    services("stop", made)
    shutil.rmtree(made)


def environment(directory: Path) -> dict[str, str]:
    lines = (directory / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def processes(directory: Path) -> list[str]:
    """Command lines that name the directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"{directory}/" in command:
            found.append(command)
    return found


def test_both_start_once_and_stop_whole(directory: Path) -> None:
    assert services("start", directory).returncode == 0
    first = environment(directory)
    running = processes(directory)
    assert len(running) == 4  # PostgreSQL, and the S3 server's three
    assert services("start", directory).returncode == 0
    assert (environment(directory), processes(directory)) == (first, running)
    with psycopg.connect(first["ARTFS_TEST_POSTGRES"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    bucket = f"{first['ARTFS_TEST_S3']}/{first['ARTFS_TEST_S3_BUCKET']}"
    assert requests.get(bucket, timeout=20).status_code == 403  # it is there, and checks who asks
    assert services("stop", directory).returncode == 0
    assert processes(directory) == []
    assert services("stop", directory).returncode == 0


def test_postgres_keeps_its_data_and_its_address_from_stop_to_start(directory: Path) -> None:
    services("start", directory, "postgres")
    url = environment(directory)["ARTFS_TEST_POSTGRES"]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    services("stop", directory, "postgres")
    services("start", directory, "postgres")
    assert environment(directory) == {"ARTFS_TEST_POSTGRES": url}
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_what_is_no_service_is_refused(directory: Path) -> None:
    refused = services("start", directory, "mysql")
    assert (refused.returncode, refused.stderr) == (1, "artfs services: error: there is no service mysql\n")
