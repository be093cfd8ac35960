"""Why a test may be left out. Where CI=true, as build services set it, only what is meant to be absent
there may be: a machine that lacks what a test needs would else pass without having tried it."""

import os

# reason: whether a test may be skipped for it where CI=true.
REASONS = {
    "built without io_uring": True,  # a build of its own; another build tries it
    "no real checkpoint here: name one with SHARDSWARM_REAL_CHECKPOINT": True,  # gigabytes
    "mounting a tmpfs needs root with CAP_SYS_ADMIN": False,
    "this file system has no holes": False,
    "network namespaces with limited links are not permitted here": False,
    "this machine prefers IPv4 addresses of a name": False,
    "a rival is not installed": False,
    "sshd is not installed": False,
    "no chromium here": False,
    "man is not installed": False,
    "fish is not installed": False,
    "zsh is not installed": False,
    "no virtual machine with another kernel here": False,
    "the virtual machine is one for amd64": True,
}


def skip(test, reason, details=""):
    """Skips a test, for one of the reasons above; fails it where that is not permitted."""
    permitted = REASONS[reason]
    said = f"{reason}: {details}" if details else reason
    if os.environ.get("CI") == "true" and not permitted:
        test.fail(f"would be skipped, which CI does not permit: {said}")
    test.skipTest(said)
