"""`python -m tests.model`: check configurations, with all guards or with some switched off."""

import argparse
import sys
import time

from .configurations import EVERY, LARGE, SMALL
from .explore import Found, explore
from .guards import REASONS, Guards


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("configurations", nargs="*", metavar="NAME", help="none: all of them; also `small`, `large`")
    parser.add_argument("--off", nargs="*", default=[], choices=REASONS, metavar="GUARD", help="switch these off")
    parser.add_argument("--each", action="store_true", help="switch each guard off alone; stop at its first trace")
    parser.add_argument("--states", type=int, default=8_000_000, help="per configuration")
    parser.add_argument("--seconds", type=float, default=900, help="per configuration")
    parser.add_argument("--list", action="store_true", help="list configurations and guards")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _report(title: str, found: Found, seconds: float) -> None:
    size = f"{found.states:,} states, {found.steps:,} steps, {seconds:.1f} s"
    whole = "" if found.is_whole else ", NOT THE WHOLE: safety only"
    _say(f"{title}: {size}{whole}: {found.violation or 'clean'}" + (f" ({len(found.trace)} steps)" * bool(found.trace)))
    for number, label in enumerate(found.trace, 1):
        _say(f"  {number:2d}. {label}")


def _list() -> None:
    for name in EVERY:
        _say(f"{'small' if name in SMALL else 'large'}  {name}")
    for name, reason in REASONS.items():
        _say(f"{name}: {reason}")


def main() -> int:
    """Run what the command line asks for; 1 if anything was found with all guards on."""
    arguments = _arguments()
    if arguments.list:
        _list()
        return 0
    groups = {"small": list(SMALL), "large": list(LARGE)}
    asked: list[str] = arguments.configurations or list(EVERY)
    names = [name for word in asked for name in groups.get(word, [word])]
    sets: list[list[str]] = [[guard] for guard in arguments.off or REASONS] if arguments.each else [arguments.off]
    is_clean = True
    for off in sets:
        for name in names:
            start = time.monotonic()
            found = explore(
                EVERY[name],
                Guards().without(*off),
                states_max=arguments.states,
                seconds_max=arguments.seconds,
            )
            _report(f"{name}{' without ' + ', '.join(off) if off else ''}", found, time.monotonic() - start)
            is_clean = is_clean and (bool(off) or not found.violation)
            if found.violation and arguments.each:
                break
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
