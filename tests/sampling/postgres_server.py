"""A PostgreSQL server of the tests' own: Debian's binaries, a cluster in a temporary folder.

It listens on loopback only, asks for a password, and runs as an unprivileged user where
the tests run as root, which PostgreSQL refuses. It ends with the process that started
it, even if that is killed.
"""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
from http_server import free_port

PASSWORD = "correct-horse-battery"
# Waits until whoever holds its standard input is gone.
_AT_THE_END = (
    'cat > /dev/null; "$0" --pgdata="$1" --mode=immediate -w stop; rm -rf "$1"'
)
_DEBIAN = Path("/usr/lib/postgresql")


def binaries():
    result = shutil.which("pg_ctl")
    if result is not None:
        return Path(result).resolve().parent
    installed = sorted(
        _DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    return installed[-1].parent if installed else None


class PostgresServer:
    def __init__(self):
        result = binaries()
        assert result is not None
        self._binaries = result
        # Not among pytest's own folders: those are closed to the server's user.
        self._temporary = tempfile.TemporaryDirectory(prefix="memleak-postgres-")
        self._folder = Path(self._temporary.name)
        self._data = self._folder / "data"
        self._user = _unprivileged()
        self._numbers = itertools.count()
        self._end = None
        self.port = free_port()

    def __enter__(self):
        if self._user is not None:
            shutil.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        password_file = self._folder / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        paths = f"--pgdata={self._data}", f"--pwfile={password_file}"
        options = (
            "--username=memleak",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-sync",
        )
        self._run("initdb", *paths, *options)
        self.start()
        self._end = subprocess.Popen(
            ["sh", "-c", _AT_THE_END, self._binaries / "pg_ctl", self._data],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self._folder, start_new_session=True, **self._as_user(),
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        assert self._end is not None
        self._end.communicate(timeout=60)
        self._temporary.cleanup()

    def start(self):
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
        }
        options = " ".join(f"-c {name}={value!r}" for name, value in settings.items())
        log = self._folder / "log"
        self._run(
            "pg_ctl",
            f"--pgdata={self._data}",
            f"--log={log}",
            "-o",
            options,
            "-w",
            "start",
        )

    def stop(self, how="immediate"):
        """Stop the server; "immediate" is what a crash looks like from outside."""
        self._run("pg_ctl", f"--pgdata={self._data}", f"--mode={how}", "-w", "stop")

    def new_place(self):
        """The URL of an empty schema, which takes less to make than a database."""
        name = f"place_{next(self._numbers)}"
        with self.admin() as connection:
            connection.execute(f'CREATE SCHEMA "{name}"')
        return f"{self.url('postgres')}?options=-csearch_path%3D{name}"

    def new_database(self):
        name = f"ledger_{next(self._numbers)}"
        with self.admin() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, name):
        return f"postgresql+psycopg://memleak:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def admin(self, name="postgres"):
        url = self.url(name).replace("+psycopg", "")
        return psycopg.connect(url, autocommit=True)

    def _as_user(self):
        if self._user is None:
            return {}
        return {
            "user": self._user.pw_uid,
            "group": self._user.pw_gid,
            "extra_groups": [],
        }

    def _run(self, program, *arguments):
        errors = self._folder / "errors"
        with errors.open("w") as file:  # not a pipe: the server would keep it open
            done = subprocess.run(
                [self._binaries / program, *arguments],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file,
                timeout=60, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, check=False,
                **self._as_user(),
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} failed: {errors.read_text()}")


def _unprivileged():
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL does not run as root, and there is no user 'nobody'")
