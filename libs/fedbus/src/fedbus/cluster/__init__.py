"""A whole cluster on this machine: `fedbus up`, the demo, tests and benchmarks.

    members    which nodes there are, and the environment each is started with           (pure)
    restarts   when a service that died is started again                                 (pure)
    shards     the shards the agents train on
    process    one member's process, over all its lives
    tether     a program that becomes another one, and dies with whoever started it
    local      the broker and all members: start, watch, stop
    place      how other commands find a cluster that runs
    kept       ports and passwords, from one start to the next
    ports      which ports it takes, and who has those that it cannot

Services are started as `python -m fedbus_…`: the library imports none of them.
"""
