"""The `[search]` table of a study file."""

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from sweep.study.table import Table

MAX_GRID = 100_000  # configs


class Pruner(Table):
    """Stops weak trials of the search at rungs, which are epochs at which trials are compared."""

    kind: Literal["halving", "median"] = Field(
        description="`halving` lets the best 1/`reduction_factor` of the trials at a rung go on, `median` the better half."
    )
    rungs: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Strict(False), Field(min_length=1)] = Field(
        description="Epochs at which to compare, rising, all before `max_epochs`."
    )
    reduction_factor: Annotated[int, Field(ge=2)] = Field(
        3, description="For `halving`: of this many trials at a rung, one goes on."
    )

    @model_validator(mode="after")
    def _rungs_rise(self) -> "Pruner":
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs must rise, got {list(self.rungs)}")
        return self


Engine = Literal["auto", "graph", "cohort"]
Where = Literal["auto", "local", "ray"]


class Search(Table):
    """Says how much to search, who proposes the configs, and how they train.

    `trials`, `epochs` and `minutes` are budgets: the search ends with whichever is spent first. Raise it to continue a study.
    """

    trials: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Trials to search with, in all; baselines are not counted."
    )
    epochs: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Epochs to search with, in all, those of baselines not counted; no trial starts that might exceed it.",
    )
    minutes: Annotated[float, Field(gt=0, lt=float("inf"))] | None = Field(
        None,
        description="Minutes of training to search with, in all; trials that run when they are over are let finish.",
    )
    sampler: Literal["freeze_thaw", "tpe", "random", "grid", "gp"] | None = Field(
        None,
        description="`freeze_thaw` tries configs for an epoch, and a model of learning curves says which are worth training "
        "to the end. `tpe` and `gp` (a Gaussian process; needs torch) learn from trials that ended, `random` does not. "
        f"`grid` tries every config once, in an order drawn from the seed; it takes up to {MAX_GRID:,} configs. "
        "Without it, `freeze_thaw`, or `tpe` where there is a pruner.",
    )
    coverage: Literal["equal", "free"] = Field(
        "equal",
        description="`equal` gives every group of the confirmation as many trials: a group that is tried more often has the "
        "better best by luck alone. `free` leaves it to the sampler.",
    )
    pruner: Pruner | None = Field(None, description="When to stop a weak trial; without it, never.")
    workers: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None,
        description="Processes that train side by side in the engine `graph`, on all machines; without it, one per core.",
    )
    engine: Engine = Field(
        "auto",
        description="`graph` trains one trial after another in each worker, `cohort` many in one program (needs jax). "
        "`auto` is `cohort` where JAX sees an accelerator, else `graph`.",
    )

    keep_models: bool = Field(
        True,
        description="Whether trials of the search save their models. Without them a large search takes little disk, and "
        "baselines and replicates, those of the best configs, still save theirs.",
    )
    executor: Where = Field(
        "auto",
        description="`local` trains on this machine, `ray` on the machines of the Ray cluster at `RAY_ADDRESS`. `auto` is `ray` "
        "where that is set, else `local`.",
    )

    @property
    def is_asked_for(self) -> bool:
        return bool(self.epochs or self.minutes) if self.trials is None else self.trials > 0

    @property
    def proposer(self) -> str:
        """Name of the sampler that proposes the configs."""
        return self.sampler or ("tpe" if self.pruner is not None else "freeze_thaw")
