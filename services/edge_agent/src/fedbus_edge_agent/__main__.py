"""Command `python -m fedbus_edge_agent`."""

from fedbus.runtime.small_imports import import_little

if __name__ == "__main__":
    import_little()
    from fedbus.runtime import service
    from fedbus_edge_agent.app import build
    from fedbus_edge_agent.settings import AgentSettings

    service.main("agent", AgentSettings, build)
