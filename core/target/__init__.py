"""The definition of the file that agents edit. Other modules use `TARGET`."""

from core.target.nanochat import TARGET as TARGET
from core.target.target import ContractError as ContractError
from core.target.target import Target as Target
