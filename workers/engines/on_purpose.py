"""Failures and delays on purpose, as the settings ask for them: so that retries can be watched before they are needed.

They are errors that another try may mend, raised where a real engine would raise them. In production the settings
are refused.
"""

import time
from enum import StrEnum
from random import SystemRandom
from threading import Event
from typing import Final

import structlog

from shared.errors import EngineRevoked, EngineUnavailable
from shared.settings import Settings

_STARTED: Final = time.monotonic()
_random = SystemRandom()
log = structlog.get_logger(__name__)


class Step(StrEnum):
    """What can fail on purpose; the setting is `fail_` and its value."""

    CHECKPOINT = "checkpoint"
    PUSH = "push"
    RESTORE = "restore"


def hold_up_or_fail(settings: Settings, step: Step, *, stop: Event) -> None:
    """Wait, fail, or do nothing, each as often as the settings say.

    Raises:
        EngineUnavailable: The step fails on purpose.
        EngineRevoked: `stop` was set while it was held up.
    """
    if _happens(settings.chaos):
        log.warning("chaos.held-up", step=str(step), delay_ms=settings.chaos_delay_ms)
        if stop.wait(settings.chaos_delay_ms / 1000):
            raise EngineRevoked(f"revoked while the {step} was held up on purpose.")
    probability = {
        Step.CHECKPOINT: settings.fail_checkpoint,
        Step.PUSH: settings.fail_push,
        Step.RESTORE: settings.fail_restore,
    }[step]
    if _still_fails(settings) and _happens(probability):
        raise EngineUnavailable(
            f"the {step} failed on purpose: CHECKPOINT_FAIL_{step.upper()} is {probability:g}. Unset it to end this."
        )


def _happens(probability: float) -> bool:
    return probability > 0 and _random.random() < probability


def _still_fails(settings: Settings) -> bool:
    return not settings.fail_for_ms or time.monotonic() - _STARTED < settings.fail_for_ms / 1000
