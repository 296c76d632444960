"""A task from end to end: prepared examples, decoding settings, metrics and reference rows, whatever its kind."""

from tasks.values import Decoding as Decoding
from tasks.values import Examples as Examples
from tasks.values import Outputs as Outputs
from tasks.values import Prepared as Prepared
from tasks.values import Reference as Reference
from tasks.values import Score as Score
from tasks.values import TaskConfig as TaskConfig
