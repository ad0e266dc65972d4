"""What fedbus costs: real processes, a real broker, figures in a table and as JSON.

    python -m benchmarks               all of them, modest sizes
    python -m benchmarks.transfer      one blob between two processes, against raw publishing
    python -m benchmarks.round         rounds, against Flower where it is installed
    python -m benchmarks.fleet         500 agents; a model of a gigabyte
    python -m benchmarks.inference     a prediction's way, against an echo

A time alone means nothing on a shared machine: whatever is compared is measured alternately in one
run, and no benchmark asserts a time.
"""
