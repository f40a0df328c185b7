"""What Supervisor looks after, and its configuration made from that."""

import os
import re
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Misconfigured
from workers.cli.servers import launcher

# Before each start, so that a program that dies at once does not eat a core. The contract's least.
PAUSE_SECONDS = 0.2
LOG_BYTES = 10_000_000
LOG_BACKUPS = 2
RPC, MAKE_RPC = "rpcinterface_factory", "make_main_rpcinterface"


@dataclass(frozen=True, slots=True)
class Program:
    """One process that Supervisor looks after.

    Args:
        name: In the log's name and on pages.
        argv: The whole command, launcher included.
        stop_signal: Asks it to end.
    """

    name: str
    argv: list[str]
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Group:
    """Programs that are started and stopped together.

    Args:
        name: Of the group.
        programs: None may have a `:` in its name.
        priority: The highest is stopped first, and the next one once the last of its programs has ended.
        stop_seconds: A program that takes longer to stop is killed.
        autostart: Started with Supervisor, not when asked for.
    """

    name: str
    programs: list[Program]
    priority: int
    stop_seconds: int
    autostart: bool


def read_procfile(path: Path) -> list[Program]:
    """Return a Procfile's programs; each line is `name: command`, without a shell.

    Raises:
        Misconfigured: The file is missing, or a line is malformed.
    """
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise Misconfigured(f"there is no {path}; expected a line `name: command` for each process") from None
    programs: list[Program] = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9_-]+):\s*(\S.*)", line)
        if match is None:
            raise Misconfigured(f"{path}: {line!r} is no `name: command`")
        # SIGKILL: whoever would have killed a worker that does not end is gone then, and no promise of
        # ours depends on how a worker dies.
        start = launcher("--pause", str(PAUSE_SECONDS), death=signal.SIGKILL)
        programs.append(Program(match[1], [*start, *shlex.split(match[2])]))
    return programs


def quoted(argv: list[str]) -> str:
    """Return a command as Supervisor's configuration wants it: `%` doubled, no ` ;` that begins a comment."""
    words = (re.sub(r"(\s)([;#])", r"\1''\2", shlex.quote(word)) for word in argv)
    return " ".join(words).replace("%", "%%")


def section(title: str, **options: object) -> str:
    """Return one section of an INI file."""
    return "\n".join([f"[{title}]", *(f"{name}={value}" for name, value in options.items()), "", ""])


def configuration(groups: list[Group], *, logs: Path, run: Path, socket: Path) -> str:
    """Return Supervisor's configuration.

    A program is `RUNNING` from its start on (`startsecs=0`), so its death is never a failed start: those
    Supervisor repeats after 1, 2, 3 ... seconds and in the end no more. Our launcher pauses instead.
    """
    as_root = {"user": "root"} if os.geteuid() == 0 else {}
    rotated = {"stdout_logfile_maxbytes": LOG_BYTES, "stdout_logfile_backups": LOG_BACKUPS}
    percent = {name: quoted_path(path) for name, path in (("logs", logs), ("run", run), ("socket", socket))}
    parts = [
        section(
            "supervisord",
            logfile=f"{percent['logs']}/supervisord.log",
            logfile_maxbytes=LOG_BYTES,
            logfile_backups=LOG_BACKUPS,
            pidfile=f"{percent['run']}/supervisord.pid",
            nodaemon="true",
            silent="true",
            **as_root,
        ),
        section("unix_http_server", file=percent["socket"]),
        section("rpcinterface:supervisor", **{f"supervisor.{RPC}": f"supervisor.rpcinterface:{MAKE_RPC}"}),
    ]
    for group in groups:
        if not group.programs:
            continue
        names = ",".join(program.name for program in group.programs)
        parts.append(section(f"group:{group.name}", programs=names, priority=group.priority))
        parts += [
            section(
                f"program:{program.name}",
                command=quoted(program.argv),
                autostart=str(group.autostart).lower(),
                autorestart="true",
                startsecs=0,
                # For starts that fail before there is a process.
                startretries=1_000_000_000,
                stopsignal=program.stop_signal.name.removeprefix("SIG"),
                stopwaitsecs=group.stop_seconds,
                killasgroup="true",
                redirect_stderr="true",
                # This one alone is expanded twice.
                stdout_logfile=f"{percent['logs'].replace('%', '%%')}/{program.name}.log",
                **rotated,
            )
            for program in group.programs
        ]
    return "".join(parts)


def quoted_path(path: Path) -> str:
    """Return a path as Supervisor's configuration wants it.

    Raises:
        Misconfigured: It holds a character that would begin a comment or end the line.
    """
    text = str(path)
    if re.search(r"\s[;#]|[\r\n]", text):
        raise Misconfigured(
            f"the data folder {text!r} has a comment sign or line break in its name; choose another with --data"
        )
    return text.replace("%", "%%")
