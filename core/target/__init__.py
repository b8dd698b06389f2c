"""What is particular to the file that agents edit. Everything else knows only `TARGET`."""

from core.target.nanochat import TARGET as TARGET
from core.target.target import ContractError as ContractError
from core.target.target import Target as Target
