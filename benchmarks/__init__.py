"""Measurements; each module is a program, and says at its top how it is run."""
