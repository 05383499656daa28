"""Admission: who may do what, and how often, decided before a command is accepted."""
