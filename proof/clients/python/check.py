"""What a check is: shared by the programs of Python's two clients.

A check is a function with a claim for its name; it fails by an exception. What is printed is read by ../src/report.rs,
and what is found in the environment is told in ../src/field.rs.
"""

import os
import queue
import socket
import sys
import threading
import time
import traceback

# How long something that must come true may take, on a slow and busy machine.
PATIENCE_S = 30

_checks = []


def check(name):
    """Marks a function as the check of this claim."""

    def mark(function):
        _checks.append((name, function))
        return function

    return mark


def endpoints():
    """(host, port) of each member."""
    hosts = [url.split("://")[1] for url in os.environ["CLIENTS_ENDPOINTS"].split(",")]
    return [(host.rsplit(":", 1)[0], int(host.rsplit(":", 1)[1])) for host in hosts]


def files():
    """The files of the certificate authority, of our certificate and of its key; none without TLS."""
    names = ("CLIENTS_CA", "CLIENTS_CERT", "CLIENTS_KEY")
    return tuple(os.environ[name] for name in names) if os.environ.get("CLIENTS_CA") else None


def same(what, got, wanted):
    assert got == wanted, f"{what}: wanted {wanted!r}, got {got!r}"


def eventually(what, ask):
    """Asks until the answer is true; the answer."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def refused(what, call, *errors):
    """The call must fail with one of these errors; the error."""
    try:
        answer = call()
    except errors as error:
        return error
    raise AssertionError(f"{what}: wanted a refusal, got {answer!r}")


def take(events, n):
    """The next n events of an iterator that blocks."""
    got = queue.Queue()

    def read():
        try:
            for _ in range(n):
                got.put(next(events))
        except Exception as error:
            got.put(error)

    threading.Thread(target=read, daemon=True).start()
    taken = []
    for _ in range(n):
        try:
            one = got.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"{len(taken)} of {n} events within {PATIENCE_S} s") from None
        if isinstance(one, Exception):
            raise one
        taken.append(one)
    return taken


def control(line):
    """Kills or starts a member: `kill 2`, `start 2`."""
    host, port = os.environ["CLIENTS_CONTROL"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as stream:
        stream.sendall(line.encode() + b"\n")
        same(line, stream.makefile().readline().strip(), "ok")


def main():
    """Runs every check in the order of the file."""
    beginnings = tuple(word for word in os.environ.get("CLIENTS_NOT_YET", "").split(",") if word)
    passed = failed = not_yet = 0
    for name, function in _checks:
        if name.startswith(beginnings) and beginnings:
            not_yet += 1
            print(f"not yet {name}", flush=True)
            continue
        begin = time.monotonic()
        try:
            function()
        except Exception as error:
            failed += 1
            traceback.print_exc()
            why = f"{type(error).__name__}: {error}".replace("\n", " ")
            print(f"FAILED {name}: {why}", flush=True)
        else:
            passed += 1
            print(f"ok {name}", flush=True)
        print(f"{(time.monotonic() - begin) * 1000:6.0f} ms  {name}", file=sys.stderr, flush=True)
    print(f"{passed} passed, {failed} failed, {not_yet} not yet", flush=True)
    sys.stdout.flush()
    # The clients' threads may wait for ever.
    os._exit(1 if failed else 0)
