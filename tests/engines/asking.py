"""The tests' crictl: asks the one that serves beside the runtime, if there is one, else becomes it.

    python -I -S asking.py PYTHON CRICTL [ARGUMENT ...]

Long calls are never asked for: whoever ends them ends a program of theirs.
"""

import _socket  # the module socket loads for as long as all the rest
import os
import sys

QUICK = {"version", "ps", "pods", "images", "inspect", "inspectp", "inspecti", "rm", "rmi", "rmp", "stopp"}
ENDPOINT = "--runtime-endpoint"


def main(python: str, crictl: str, *argv: str) -> None:
    """Answer as crictl does."""
    has_endpoint = argv[:1] == (ENDPOINT,)
    endpoint = argv[1] if has_endpoint else os.environ.get("CONTAINER_RUNTIME_ENDPOINT", "")
    words = argv[2:] if has_endpoint else argv
    server = endpoint.removeprefix("unix://").replace("containerd.sock", "crictl.sock")
    if not (words and words[0] in QUICK and os.path.exists(server)):  # noqa: PTH110  # pathlib loads for too long
        os.execv(python, [python, crictl, *argv])  # noqa: S606  # no shell is wanted
    asked = _socket.socket(_socket.AF_UNIX)
    asked.connect(server)
    asked.sendall("\0".join(words).encode() + b"\n")
    answer = b""
    while part := asked.recv(65536):
        answer += part
    code, said, complaint = answer.decode().split("\0")
    if code != "0":
        sys.exit(complaint)
    print(said)  # noqa: T201  # as crictl does


if __name__ == "__main__":
    main(*sys.argv[1:])
