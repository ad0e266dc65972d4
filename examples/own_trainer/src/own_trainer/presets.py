"""A strategy by one name."""

from fedbus import PluginChoice, Preset

MIDDLE_BALL = Preset(
    aggregator=PluginChoice(id="middle-share"),
    server_optimizer=PluginChoice(id="heavy-ball", parameters={"momentum": 0.3}),
)
