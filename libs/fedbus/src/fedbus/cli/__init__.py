"""The `fedbus` command: options, tables and exit codes over `fedbus.client`, which does the work.

__main__   the process: Ctrl-C ends it even while the commands are loaded
main       the commands, and what becomes of their errors
exits      exit codes
anywhere   --cluster and --broker, which may stand behind a command too
stale      a login that `fedbus env` gave once and that leads nowhere any more
clusters   what runs on this machine: clusters, down, env
logs       what services say, with log_lines: in one order, for people
accounts   what a Mosquitto for a fleet reads: accounts, rules, passwords
archive    weights kept in a file
watching   a job's progress: a bar on a terminal, lines elsewhere
show       tables, JSON, units
tables     text and tables on terminals of any width
outlet     standard output that says so when it cannot be written
jobs, agents, models, inference, up, demo, simulation       the commands themselves
"""
