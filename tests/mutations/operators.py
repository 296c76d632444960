"""All operators: each breaks one property of a variant, wherever one of its rules matches.

An edit that only makes another architecture (another activation, scale or norm) breaks no property and is no operator.
"""

from mutations import building, calls, objectives, visibility

OPERATORS = (*visibility.OPERATORS, *calls.OPERATORS, *building.OPERATORS, *objectives.OPERATORS)
