"""`python -m fedbus_edge_agent`."""

from fedbus_edge_agent.app import main

if __name__ == "__main__":
    main()
