"""Accuracy of the strategies on real data; `python -m benchmarks.strategies`.

settings.py            settings of an experiment, and the job file of a strategy in one
experiments.py         the experiments, and the parameters that are tried
real_data.py           the data sets, partitioned among agents
agent_networks.py      networks of several agents, trained together in numpy
attacks.py             what malicious agents do
in_memory_rounds.py    rounds with the project's strategies, without messages
simulated_services.py  the same setting, run by the real services
measured.py            parameters chosen, then accuracies over several seeds
result_pages.py        tables and picture
result_files.py        the committed results
"""
