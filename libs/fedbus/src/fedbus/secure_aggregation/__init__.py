"""Secure aggregation: a collector computes the sum of masked updates, and reads no single one.

SecAgg+ (Bell et al. 2020, ePrint 2020/704) with double masking after Bonawitz et al. 2017 (ePrint
2017/281), for a collector that may be dishonest and may work together with some of the agents.

What is guaranteed. Let K be the agents of a neighbourhood, the agent itself included, t the
threshold of it (`least_of`), and let at most c agents of the neighbourhood of each honest agent
work together with the collector. An honest agent has a genuine identity key of each neighbour. Then
the collector and these agents learn sums of at least t - c updates of honest agents and nothing
else of them, if

- the collector follows the steps, and c < t: it only reads what it gets; or
- it does not, all agents are neighbours, and 2 t > K + c; or
- it does not, neighbours are on a circle, and 3 t > 2 K + 2 c + 1.

`colluders_tolerated` returns the greatest c with t - c >= 2, and `tolerance_of` the one that holds
whichever agents the collector leaves out. ADR 36 has the proof. What it rests on:

1. An agent reveals for each neighbour a share of its mask key or of its seed, one of them, once.
   To open an update both are needed, or the masks with all honest neighbours. Both would need
   2 t shares of at most K + c.
2. An agent signs one set of survivors, in which each survivor has t survivors in its
   neighbourhood, and reveals shares only for that set, if t of its own neighbourhood signed it.
   On a circle, the collector can show other sets to agents that are far from each other. Two
   agents that are d places apart and reveal shares for different sets need 2 (t - c) honest
   signers of at most K + d - c, so d >= 2 t - K - c. The agents that reveal the seed of one agent
   are t - c of K in a row; if 3 t > 2 K + 2 c + 1, no gap between them is so wide: they have one
   set. If those that reveal the seed of one agent and the mask key of another have different sets,
   the two are 4 t - 2 K - 3 c - 1 or more places apart, which is more than K / 2: they are no
   neighbours. So what is opened is the sum of all honest agents of one set that are joined by
   masks, and each of them has t - c honest survivors in its neighbourhood.
3. Everything is bound to the job, round and task, to the agents that made keys, and, from the
   mask on, to the agents that shared secrets: the order of the circle, encrypted shares, seeds
   of masks, and signatures. Agents that were shown different sets cannot decrypt each other's
   shares, have no masks in common, and do not count as signers of the same set.
4. Keys of an agent from an earlier run of the same task, whose mask key was revealed then, cannot
   make a share for the fresh key of another agent. An agent counts as survivors and as signers of
   its neighbourhood only those whose shares it has decrypted, and a signature has the signer's
   fresh key in it.

What is not: collector and controller choose the cohort, and can try choices until colluding agents
stand beside an agent. They can invent agents with identities of their own, which count as
colluding; so can the operator of the broker, unless identities are pinned. So c is to be judged by
the number of all agents that may collude, unless the choice is trusted. The terms come with the
task: an agent does not know whether they are those of the job, and declines what is weaker than it
accepts (`AcceptedTerms`). A dishonest agent can make the round fail, or its own update anything.
"""
