"""Runs a command as a systemd unit's hardening would let it, where no systemd runs: as another
user, with the unit's filter of system calls and address families, and without memory that is both
written and executed. What the filter does not let through kills the process, whatever the unit
says, so that a test sees it. Needs root; folders and mounts are the caller's.

Usage: confined.py UNIT UID COMMAND [ARGUMENT…]
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import socket
import subprocess
import sys

SCMP_ACT_KILL_PROCESS = 0x80000000
SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_CMP_EQ = 4
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE = 65  # Linux 6.3
PR_MDWE_REFUSE_EXEC_GAIN = 1


class ArgumentTest(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int),
                ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def settings(unit: pathlib.Path) -> dict[str, list[str]]:
    """The values of each key of [Service], in order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif section == "Service" and "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def members(name: str) -> set[str]:
    """The system calls of a set, or the one of that name."""
    if not name.startswith("@"):
        return {name}
    said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True,
                          text=True, check=True).stdout
    lines = [line.strip() for line in said.splitlines()[1:]]
    return set().union(*(members(line) for line in lines if line and not line.startswith("#")))


def allowed(filters: list[str]) -> set[str]:
    calls: set[str] = set()
    for value in filters:
        named = set().union(*map(members, value.removeprefix("~").split()))
        calls = calls - named if value.startswith("~") else calls | named
    return calls


def load_filter(calls: set[str], families: list[str]) -> None:
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(SCMP_ACT_KILL_PROCESS)))
    allow = ctypes.c_uint32(SCMP_ACT_ALLOW)
    for call in sorted(calls - {"socket"}):
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # of this architecture
            assert library.seccomp_rule_add(context, allow, number, 0) == 0, call
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        test = ArgumentTest(0, SCMP_CMP_EQ, getattr(socket, family), 0)
        assert library.seccomp_rule_add_array(context, allow, number, 1, ctypes.byref(test)) == 0
    assert library.seccomp_load(context) == 0, os.strerror(ctypes.get_errno())


def main() -> None:
    unit, user, *command = sys.argv[1:]
    wanted = settings(pathlib.Path(unit))
    calls = allowed(wanted["SystemCallFilter"])
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(int(user), int(user), int(user))
    os.setresuid(int(user), int(user), int(user))
    assert wanted["NoNewPrivileges"] == ["yes"] and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if wanted.get("MemoryDenyWriteExecute") == ["yes"]:
        libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)  # an older kernel: not tried
    load_filter(calls, wanted["RestrictAddressFamilies"][0].split())
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
