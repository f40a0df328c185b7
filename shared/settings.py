"""Every setting: name, unit, default, limits. Environment variables with the prefix CHECKPOINT_.

Read once at start and refused as a whole, with every mistake listed. Source: the contract, section 5.
"""

import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from shared.defaults import default_image_store, default_lock_folder, default_node, default_work_folder
from shared.errors import Misconfigured
from shared.heartbeat import default_folder

PREFIX = "CHECKPOINT_"
# Names with our prefix that are no settings: the mark of a workload, and what `checkpoints up` tells others.
SECRETS_DIR = "CHECKPOINT_SECRETS_DIR"
NOT_SETTINGS = frozenset({"CHECKPOINT_WORKLOAD", "CHECKPOINT_FLOWER_URL", "CHECKPOINT_WEB_URL", SECRETS_DIR})
DELAY_LIMIT_MS = 172_800_000
CLEAN_AGE_TIMEOUTS = 10
_NAMED = re.compile(r'field "(?P<name>\w+)"')

Milliseconds = Annotated[int, Field(ge=0, le=10**12)]
Period = Annotated[int, Field(ge=1, le=10**12)]
Delay = Annotated[int, Field(ge=0, le=DELAY_LIMIT_MS)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseSettings):
    """The settings of one process. Names ending in `_ms` are milliseconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://localhost/checkpoints"), description="Postgres, as a libpq URL."
    )
    broker_url: SecretStr = Field(
        default=SecretStr("redis://localhost:6379/0"), description="Redis: queues, tokens, held countdowns."
    )
    node: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = Field(
        default_factory=default_node, description="Name of this machine, as workloads name it."
    )
    engines: str = Field(default="simulate", description="Engines that this node offers, separated by commas.")
    lock_folder: Path = Field(
        default_factory=default_lock_folder,
        description="Folder of the node's lock files; all workers of a node share it.",
    )
    key_prefix: str = Field(default="", description="Before every Redis key and queue name.")
    transport: Literal["deferred", "stock"] = Field(
        default="deferred",
        description="`deferred` holds countdowns in Redis; `stock` lets Celery's workers hold them.",
    )

    delay_task_ms: Delay = Field(default=30_000, description="Delay of WAIT_FOR_TASK.")
    delay_batch_ms: Delay = Field(default=30_000, description="Delay of WAIT_FOR_BATCH.")
    delay_duration_ms: Delay = Field(default=0, description="Delay of WAIT_FOR_DURATION.")
    delay_manual_ms: Delay = Field(default=0, description="Delay of MANUAL.")
    delay_retry_ms: Delay = Field(default=0, description="Delay of RETRYING_AFTER_FAILURE.")
    delay_min_ms: Delay = Field(default=0, description="No delay is shorter; a shorter one is raised to it.")
    delay_max_ms: Delay = Field(default=DELAY_LIMIT_MS, description="No delay is longer; a longer one is cut to it.")
    delay_policy: Literal["fixed"] = Field(default="fixed", description="How a delay is found where a call names none.")
    key_delays: dict[str, Delay] = Field(default_factory=dict, description="JSON: key of a wait to its delay.")
    duration_threshold_ms: Milliseconds = Field(
        default=30_000, description="A time wait that ends sooner gets no checkpoint."
    )
    retry_threshold_ms: Milliseconds = Field(
        default=30_000, description="A wait for the next try that ends sooner gets no checkpoint."
    )
    open_waits_per_key: Annotated[int, Field(ge=0)] = Field(
        default=0, description="More open waits of one key are refused; 0 is no limit."
    )
    countdown_horizon_ms: Period = Field(
        default=60_000,
        description="A take that is due later is only a row; the sweeper sends it when it is near.",
    )
    take_grace_ms: Period = Field(
        default=5_000, description="How late a take may be before the sweeper sends it again."
    )
    sweep_period_ms: Period = Field(default=1_000, description="The sweeper sleeps no longer than this.")
    resend_first_ms: Period = Field(default=10_000, description="First gap before anything is sent again; it doubles.")
    resend_max_ms: Period = Field(default=600_000, description="The gap grows no further.")
    retry_base_ms: Period = Field(default=3_000, description="Back-off of a failed try: first step; factor 3.")
    retry_max_ms: Period = Field(default=10_800_000, description="Back-off: longest step.")
    retry_total_ms: Period = Field(
        default=172_800_000, description="Back-off: steps in all; then the checkpoint failed."
    )
    lease_ms: Period = Field(default=30_000, description="Lease of a restore.")
    continuation_lease_ms: Period = Field(default=60_000, description="Lease of a claimed continuation.")
    handshake_ms: Period = Field(default=20_000, description="Time to answer `run.prepare`.")
    node_silent_ms: Period = Field(default=30_000, description="A node that was not seen for longer is silent.")
    agent_period_ms: Period = Field(default=5_000, description="How often the node's agent looks.")
    engine_timeout_ms: Period = Field(default=600_000, description="Limit of each engine command.")
    token_ttl_ms: Period = Field(default=3_600_000, description="A revocation token lives this long.")
    keep_finished_ms: Period = Field(default=604_800_000, description="Finished waits are kept this long.")
    keep_unclaimed_completion_ms: Period = Field(
        default=604_800_000, description="A completion whose wait never came is kept this long."
    )
    batch_seal_ms: Period = Field(
        default=1_800_000, description="A batch unsealed for longer is completed `timed_out`."
    )
    keep_rejections: Annotated[int, Field(ge=1)] = Field(default=10_000, description="Refused messages kept, in rows.")
    take_concurrency: Annotated[int, Field(ge=1, le=256)] = Field(
        default=8, description="Takes and restores at once in one checkpoint worker."
    )
    simulate_command: list[str] = Field(
        default_factory=list,
        description="JSON list: a program that the engine `simulate` runs where others dump and store; "
        "its exit code other than 0 is a failed try. Empty: none.",
    )

    health_folder: Path = Field(
        default_factory=default_folder, description="Folder of the heartbeat files of this machine's workers."
    )
    health_limit_ms: Period = Field(
        default=60_000, description="A worker's loop that has not turned for longer stands still."
    )
    criu_path: str = Field(default="criu", description="The program criu of the engine `process`: a name or a path.")
    process_tcp: Literal["close", "established"] = Field(
        default="close",
        description="TCP connections of a restored process: `close`: it finds them closed and connects again; "
        "`established`: they go on if their peers kept them, for waits shorter than any peer's patience.",
    )
    docker_mode: Literal["auto", "checkpoint", "pause"] = Field(
        default="auto",
        description="Engine `docker`: `checkpoint` gives memory back, `pause` does not; `auto` is `checkpoint` where "
        "the daemon is experimental.",
    )
    crictl_path: str = Field(default="crictl", description="The program crictl of the engine `cri`: a name or a path.")
    buildah_path: str = Field(default="buildah", description="The program buildah of the engine `cri`.")
    skopeo_path: str = Field(default="skopeo", description="The program skopeo of the engine `cri`.")
    cri_registry: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)*/?)?$",
        description="Where the engine `cri` pushes images, for example registry.example.com/checkpoints; deleting must "
        "be allowed there. Each database needs a path of its own: images are named by the ids of its rows.",
    )
    cri_registry_tls_verify: bool = Field(
        default=True, description="Whether the registry must speak TLS with a certificate that this machine trusts."
    )
    cri_push_retry_ms: Milliseconds = Field(
        default=60_000,
        description="A failed push is repeated for so long while the container stands; then the try has failed.",
    )
    work_folder: Path = Field(
        default_factory=default_work_folder,
        description="Folder of dumps and restores in progress; all workers of a node share it, those of another "
        "database do not. It needs room for the memory of what is frozen at once.",
    )
    image_store: str = Field(
        default_factory=default_image_store,
        description="Where images are kept: file:///FOLDER or s3://BUCKET/PREFIX (with Amazon's own AWS_ variables). "
        "Each database needs one of its own: images are named by the ids of its rows.",
    )
    image_store_shared: bool = Field(
        default=False,
        description="All nodes see the same folder of images; always so with s3. Then another node brings back what a "
        "silent one froze.",
    )
    image_gone_ms: Milliseconds = Field(
        default=600_000,
        description="An image that the run's own node has not found for this long is gone, and the run lost. A store "
        "that is not mounted looks like that.",
    )
    image_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Signs images, for a store that others can write to. Images without its signature are refused.",
    )
    image_key_before: SecretStr | None = Field(
        default=None, min_length=16, description="The key before this one: images that it signed are still restored."
    )
    image_level: Annotated[int, Field(ge=1, le=19)] = Field(
        default=1,
        description="Compression of images (zstd): higher is smaller and slower; the process stands meanwhile.",
    )
    image_files_max: Annotated[int, Field(ge=1)] = Field(
        default=100_000, description="An image with more files is neither stored nor restored."
    )
    image_bytes_max: Annotated[int, Field(ge=1)] = Field(
        default=64 * 2**30, description="An image that is larger unpacked is neither stored nor restored."
    )
    image_ratio_max: Annotated[int, Field(ge=1)] = Field(
        default=50_000,
        description="An image that grows by a larger factor when unpacked is neither stored nor restored.",
    )
    free_bytes_min: Annotated[int, Field(ge=0)] = Field(
        default=256 * 2**20,
        description="So much stays free on the disk of the work folder: a dump or restore that would need it waits.",
    )

    clean_period_ms: Period = Field(default=300_000, description="How often a node looks for files that were left.")
    clean_age_ms: Milliseconds = Field(
        default=86_400_000,
        description="What nobody has changed for this long, and no living process needs, is removed.",
    )
    clean_folders: list[Path] = Field(
        default_factory=list[Path],
        description="JSON list: folders whose old entries are removed beside those of the work folder. Name only "
        "folders that hold nothing else.",
    )

    environment: Literal["production", "development"] = Field(
        default="production", description="In `production` no failure may be simulated."
    )
    fail_checkpoint: Probability = Field(default=0, description="How often a dump fails on purpose: 0 to 1.")
    fail_push: Probability = Field(default=0, description="How often a stored image is lost on purpose: 0 to 1.")
    fail_restore: Probability = Field(default=0, description="How often a restore fails on purpose: 0 to 1.")
    fail_for_ms: Milliseconds = Field(
        default=0, description="Failures on purpose end so long after the worker's start; 0: they never do."
    )
    chaos: Probability = Field(default=0, description="How often each engine call is held up on purpose: 0 to 1.")
    chaos_delay_ms: Milliseconds = Field(default=45_000, description="How long it is held up then.")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.delay_min_ms > self.delay_max_ms:
            raise ValueError(
                f"DELAY_MIN_MS is {self.delay_min_ms}, above DELAY_MAX_MS {self.delay_max_ms}; lower one of them"
            )
        if self.resend_first_ms > self.resend_max_ms:
            raise ValueError(f"RESEND_FIRST_MS is {self.resend_first_ms}, above RESEND_MAX_MS {self.resend_max_ms}")
        if self.agent_period_ms * 3 > self.node_silent_ms:
            raise ValueError(
                f"NODE_SILENT_MS is {self.node_silent_ms}; expected at least 3 times AGENT_PERIOD_MS "
                f"({self.agent_period_ms}), or a live node looks silent"
            )
        if self.clean_age_ms < CLEAN_AGE_TIMEOUTS * self.engine_timeout_ms:
            raise ValueError(
                f"CLEAN_AGE_MS is {self.clean_age_ms}; expected at least {CLEAN_AGE_TIMEOUTS} times ENGINE_TIMEOUT_MS "
                f"({self.engine_timeout_ms}), or the files of a try in progress look left behind"
            )
        on_purpose = ("fail_checkpoint", "fail_push", "fail_restore", "chaos")
        if self.environment == "production" and (named := [one for one in on_purpose if getattr(self, one)]):
            raise ValueError(
                f"{', '.join(named).upper()}: failures on purpose; expected none in production. Unset them, or set "
                "CHECKPOINT_ENVIRONMENT=development"
            )
        return self


def read_settings() -> Settings:
    """Read and check the settings of this process's environment.

    A value may also stand in a file of the folder CHECKPOINT_SECRETS_DIR, named like its variable in lower case, for
    example `checkpoint_database_url`; a variable goes before its file.

    Raises:
        Misconfigured: Some names are unknown or some values are wrong; the message lists every mistake.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    ours = {name for name in os.environ if name.startswith(PREFIX)}
    mistakes = [
        f"{name}: unknown; did you mean another? `checkpoints settings` lists all"
        for name in sorted(ours - known - NOT_SETTINGS)
    ]
    folder = os.environ.get(SECRETS_DIR)
    if folder is not None and not Path(folder).is_dir():
        mistakes.append(f"{SECRETS_DIR}: {folder} is no folder; expected one with files such as checkpoint_broker_url")
        folder = None
    try:
        settings = Settings(_secrets_dir=folder)  # pyright: ignore[reportCallIssue]  # pydantic-settings' own
    except ValidationError as error:
        mistakes += [
            f"{PREFIX}{'.'.join(str(part) for part in mistake['loc']).upper()}: {mistake['msg']}"
            for mistake in error.errors(include_input=False, include_url=False)
        ]
    except SettingsError as error:
        # Of a list or an object that is no JSON; the message names the field.
        field = _NAMED.search(str(error))
        name = PREFIX + field["name"].upper() if field else "a setting"
        mistakes.append(f'{name}: no JSON; expected it as JSON, for example ["sleep", "2"] or {{"report": 60000}}')
    else:
        if not mistakes:
            return settings
    raise Misconfigured("\n".join(["The settings are wrong:", *mistakes])) from None


@cache
def current_settings() -> Settings:
    """Return the settings of this process: read from its environment, once."""
    return read_settings()
