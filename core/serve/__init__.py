"""The app in a browser. Only `command` can be imported without the packages of requirements-serve.txt."""
