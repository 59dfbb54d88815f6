"""What the scripts share: the address, names of one's own, and checks that say what differs."""

import os
import sys
import traceback
import uuid

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")

# How long anything may take before it counts as not happening.
PATIENCE = 10.0


def name(what):
    """A name that no other run uses."""
    return f"clients-{what}-{uuid.uuid4().hex[:12]}"


def equal(got, expected, what):
    """Fails unless both are the same."""
    if got != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")


def raises(kind, code, call, what):
    """Fails unless the call raises this kind of error with this AMQP reply code; gives the error."""
    try:
        call()
    except kind as error:
        got = getattr(error, "reply_code", None) or getattr(error, "code", None)
        if got is None and error.args:
            got = error.args[0]
        equal(got, code, f"{what}: reply code of {error!r}")
        return error
    raise AssertionError(f"{what}: no {kind.__name__}")


def main(cases):
    """Runs every case and says which failed."""
    failed = 0
    for case in cases:
        try:
            case()
            print(f"ok    {case.__name__}")
        except Exception:  # whatever it is, it is a difference
            failed += 1
            print(f"FAIL  {case.__name__}")
            traceback.print_exc(file=sys.stdout)
    print(f"{len(cases) - failed} of {len(cases)} passed")
    sys.exit(1 if failed else 0)
