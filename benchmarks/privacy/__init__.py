"""Cost and benefit of privacy on real data: accuracy by ε, and attacks on models.

private_settings.py     conditions, and the job file of a mechanism
private_rounds.py       rounds of a private job in memory
private_examples.py     the same with DP-SGD, in PyTorch
cost_of_privacy.py      parameters chosen, then accuracies over several seeds
overfitted_models.py    models that remember their examples, trained with DP-SGD or without
membership.py           attacks that tell members from others, and how well they do
release_attacks.py      the best attack on what a mechanism publishes, whose bound is known
private_results.py      the committed figures, tables and picture
"""
