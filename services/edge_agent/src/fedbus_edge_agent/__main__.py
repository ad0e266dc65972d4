"""Command `python -m fedbus_edge_agent`."""

from fedbus.runtime import service
from fedbus_edge_agent.app import build
from fedbus_edge_agent.settings import AgentSettings

if __name__ == "__main__":
    service.main("agent", AgentSettings, build)
