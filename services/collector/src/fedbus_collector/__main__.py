"""`python -m fedbus_collector`."""

from fedbus_collector.app import main

if __name__ == "__main__":
    main()
