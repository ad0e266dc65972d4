"""Effect of a job's strategy and privacy on one agent alone: what needs a fleet is refused."""

from collections.abc import Collection

from fedbus import plugins
from fedbus.jobs import JobFile, StrategyConfig
from fedbus.strategies.strategy_names import preset_id


def privacy_reason(file: JobFile) -> str:
    """Return why an agent alone cannot keep what a job promises; "" if it promises nothing.

    The ledger of what a job has spent is the repository's, and an agent alone has none.
    """
    chosen = file.privacy_mechanisms.chosen
    if chosen is None:
        return ""
    return f"privacy-mechanisms.{chosen[0]} needs a fleet: an agent alone accounts for no ε"


def strategy_reason(strategy: StrategyConfig, allowed: Collection[str] | None) -> str:
    """Return why an agent alone cannot train a job of this strategy; "" if it can.

    Aggregators and server optimizers combine updates, and there are none. An objective or a
    transform of updates would change the training, and is not run without a fleet.

    Raises:
        PluginError: The strategy is not allowed here, or cannot be imported.
    """
    objective = None if strategy.objective is None else strategy.objective.id
    if objective is None and (id_ := preset_id(strategy.id)) is not None:
        preset = plugins.load("strategies", id_, allowed)
        objective = None if preset.objective is None else preset.objective.id
    if objective is not None:
        return (
            f"strategy {strategy.id!r} adds the objective {objective!r} to the loss, which needs a "
            "fleet; a job of one agent alone takes a strategy without one, such as fedavg"
        )
    if strategy.update_transforms:
        named = strategy.update_transforms[0].id
        return (
            f"strategy.update_transforms: {named!r} needs a fleet; an agent alone sends no update"
        )
    return ""
