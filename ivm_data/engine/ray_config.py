"""Where and on what the Ray engine runs; a module of its own, so that configuring it does not import Ray."""

from __future__ import annotations

from dataclasses import dataclass, field

from ivm_data.engine.pipeline import STAGES
from storage.common.validation import Checked, Count, Natural, NotNegative
from storage.errors import ConfigError


@dataclass(frozen=True)
class Pool(Checked):
    """The actors of one stage.

    Attributes:
        actors: how many; each loads the experts of its stage.
        cpus, gpus: what each is counted with when Ray places it; a fraction of a GPU shares it with other actors.
        waiting: parts that may lie at an actor, the one under way included; then the pool before it has to wait.
    """

    actors: Count = 1
    cpus: NotNegative = 0.25
    gpus: NotNegative = 0.0
    waiting: Count = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ConfigError(f"'gpus' must be a share of one GPU or a whole number of them, got {self.gpus}")


@dataclass(frozen=True)
class RayConfig(Checked):
    """Where and on what the stages run; it decides nothing about labels and is no part of a recipe.

    Attributes:
        address: of a running Ray cluster, "HOST:6379" or "auto"; "local" starts one here that ends with the run.
        local_cpus: CPUs that a local cluster counts with; 0 for those that there are.
        store_mib: size of a local cluster's object store; 0 leaves it to Ray, which takes 30 % of the memory.
        retries: how often a part is retried after its process died, or after a failure that may pass.
        retry_s: seconds before each new start.
    """

    address: str = "local"
    local_cpus: Natural = 0
    store_mib: Natural = 0
    retries: Natural = 3
    retry_s: NotNegative = 10.0
    rewrite: Pool = field(default_factory=Pool)
    ground: Pool = field(default_factory=Pool)
    resolve: Pool = field(default_factory=Pool)
    segment: Pool = field(default_factory=Pool)
    fuse: Pool = field(default_factory=Pool)
    verify: Pool = field(default_factory=Pool)

    @property
    def here(self) -> bool:
        """All of it runs on this machine. Elsewhere files are not joined: locks may not hold between machines."""
        return self.address == "local"

    def pools(self) -> dict[str, Pool]:
        """The pool of each stage, in order."""
        return {name: getattr(self, name) for name in STAGES}
