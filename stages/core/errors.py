"""Errors for people: the CLI prints them bare, without a traceback, and exits with their code."""


class KormedError(Exception):
    """Something a user can put right. The message names the thing, what was wanted, what was there, the way out."""

    exit_code = 2


class ProofFailed(KormedError):
    """A check on our own arithmetic failed; going on would give numbers that mean something else."""

    exit_code = 1
