"""Benchmarks of fedbus with real processes and a real broker; results as a table and as JSON.

    python -m benchmarks               all of them, with small sizes
    python -m benchmarks.transfer      one blob between two processes, against raw publishing
    python -m benchmarks.round         rounds, against Flower where it is installed
    python -m benchmarks.fleet         500 agents; a model of a gigabyte
    python -m benchmarks.inference     predictions, against an echo
    python -m benchmarks.freezing      share of frozen parameters over the rounds of a job
    python -m benchmarks.strategies    accuracy of the strategies on real data, also under attack

A time alone means little on a shared machine: what is compared is measured alternately in one run,
and no benchmark asserts a time.
"""
