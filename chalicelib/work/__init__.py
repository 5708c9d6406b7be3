"""Use cases: the only modules that know both records and objects."""
