"""Where and on what the Ray engine runs; apart from the engine, for whoever only sets it up."""

from __future__ import annotations

from dataclasses import dataclass, field

from ivm_data.engine.pipeline import STAGES
from storage.errors import ConfigError


@dataclass(frozen=True)
class Pool:
    """The actors of one stage.

    Attributes:
        actors: how many; each loads the experts of its stage.
        cpus, gpus: what each is counted with when Ray places it; a fraction of a GPU shares it with other actors.
        waiting: parts that may lie at an actor, the one under way included; then the pool before it has to wait.
    """

    actors: int = 1
    cpus: float = 0.25
    gpus: float = 0.0
    waiting: int = 2

    def __post_init__(self) -> None:
        if self.actors < 1 or self.waiting < 1:
            raise ConfigError(f"'actors' and 'waiting' must be at least 1, got {self.actors} and {self.waiting}")
        if self.cpus < 0 or self.gpus < 0:
            raise ConfigError(f"'cpus' and 'gpus' must not be negative, got {self.cpus} and {self.gpus}")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ConfigError(f"'gpus' must be a share of one GPU or a whole number of them, got {self.gpus}")


@dataclass(frozen=True)
class RayConfig:
    """Where and on what the stages run; it decides nothing about labels and is no part of a recipe.

    Attributes:
        address: of a running Ray cluster, "HOST:6379" or "auto"; "local" starts one here that ends with the run.
        local_cpus: CPUs that a local cluster counts with; 0 for those that there are.
        store_mib: size of a local cluster's object store; 0 leaves it to Ray, which takes 30 % of the memory.
        retries: how often a part starts anew after its process died, or after a failure that may pass.
        retry_s: seconds before each new start.
    """

    address: str = "local"
    local_cpus: int = 0
    store_mib: int = 0
    retries: int = 3
    retry_s: float = 10.0
    rewrite: Pool = field(default_factory=Pool)
    ground: Pool = field(default_factory=Pool)
    resolve: Pool = field(default_factory=Pool)
    segment: Pool = field(default_factory=Pool)
    fuse: Pool = field(default_factory=Pool)
    verify: Pool = field(default_factory=Pool)

    def __post_init__(self) -> None:
        for name in ("local_cpus", "store_mib", "retries", "retry_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"'{name}' must not be negative, got {getattr(self, name)}")

    def pools(self) -> dict[str, Pool]:
        """The pool of each stage, in order."""
        return {name: getattr(self, name) for name in STAGES}
