"""The ring: the real core of every service in one process, without sleeps and sockets.

    ring             hosts on an in-memory broker: kill, restart, cut, run until a condition holds
    host             one machine with one service
    virtual_clock    the simulated clock
    network_faults   faults of packets, drawn from a seed
    services         factories of the services' cores
    oracle           check of all records of a repository; `aggregate_check` computes the sums again
    run              a whole job for a plug-in's author (`simulate`)
    plugin_trial     one plug-in, tried on generated data

One seed gives one run.
"""
