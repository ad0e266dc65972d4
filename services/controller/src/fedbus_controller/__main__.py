"""`python -m fedbus_controller`."""

from fedbus_controller.app import main

if __name__ == "__main__":
    main()
