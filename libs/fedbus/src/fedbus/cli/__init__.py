"""The `fedbus` command: options, tables and exit codes; `fedbus.client` does the work.

__main__    the process: signals end it even while commands are imported
main        all commands, and the conversion of errors to exit codes
commands    one module for each command or group of commands
inputs      arguments, options and the files they name
output      tables, progress, JSON, units
"""
