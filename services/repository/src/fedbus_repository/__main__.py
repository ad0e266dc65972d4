"""Command `python -m fedbus_repository`."""

from fedbus_repository.app import main

if __name__ == "__main__":
    main()
