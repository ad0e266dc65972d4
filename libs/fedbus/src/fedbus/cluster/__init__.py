"""A whole cluster on this machine: `fedbus up`, the demo, tests and benchmarks.

    members          the nodes, and the environment that each is started with
    local            start and stop of the broker and all members
    supervisor       restarts of members that exit; `backoff` computes the pauses
    process          the process of one member, over all its starts
    die_with_parent  launcher of a program that is killed when its parent ends
    partitions       the data that the agents train on
    ports            ports, and the processes that use them
    registry         descriptions of running clusters, for other commands
    saved_state      ports and passwords, used again at the next start

Services are started as `python -m fedbus_…`: the library imports none of them.
"""
