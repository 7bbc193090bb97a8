"""How good and how dear a rule is: its gradient along a trajectory, its reach, what it keeps, how long it takes.

`along` compares gradients of many rules update by update, `reach` their credit for one late loss, lag by lag;
`trace_quality` holds cheap traces of BP(λ) against the exact one; `memory` weighs a rule, `time` clocks it.
"""
