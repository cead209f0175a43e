#!/usr/bin/env python3
"""Runs a command and tells, as the last line of standard output, its time and the most memory that it had: all resident
pages ("resident", what time -v calls the maximum resident set size), of these the pages of its own ("own": heap, stacks)
and those of mapped files ("mapped"), which the system may take back at any time. Linux.

Usage: peak_memory.py [--limit-mb N] COMMAND [ARGUMENT...]
Ends with the command's status, or with 1 if the resident pages exceeded the limit (in units of 1,000,000 bytes).
"""
import os
import subprocess
import sys
import time


def resident(pid):
    """(own, mapped) in bytes, None at the end."""
    own = mapped = 0
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    own = int(line.split()[1]) * 1024
                elif line.startswith("RssFile:"):
                    mapped = int(line.split()[1]) * 1024
    except OSError:
        pass
    return own, mapped


def main():
    arguments, limit = sys.argv[1:], None
    if arguments[:1] == ["--limit-mb"]:
        limit = int(arguments[1])
        arguments = arguments[2:]
    if not arguments:
        sys.exit(__doc__)
    start = time.monotonic()
    child = subprocess.Popen(arguments)
    own = mapped = 0
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid != 0:
            break
        now_own, now_mapped = resident(child.pid)
        own, mapped = max(own, now_own), max(mapped, now_mapped)
        time.sleep(0.002)
    most = usage.ru_maxrss * 1024
    print(f"{time.monotonic() - start:.1f} s ({usage.ru_utime + usage.ru_stime:.1f} s of CPU), peak memory: resident "
          f"{most / 1e6:.0f} MB, own {own / 1e6:.0f} MB, mapped {mapped / 1e6:.0f} MB", flush=True)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code != 0 else 1 if limit is not None and most > limit * 1_000_000 else 0)


if __name__ == "__main__":
    main()
