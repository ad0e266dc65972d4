"""The ring in one process: every service's real core on an in-memory broker and a fake clock.

    ring       hosts, their broker, their clock; kill, restart, cut, run until
    faults     what goes wrong between them, drawn from a seed
    trail      the oracle: is what the repository holds true?
    simulate   a whole job for a plug-in's author, with no broker

Nothing here sleeps or opens a socket, and one seed gives one run.
"""
