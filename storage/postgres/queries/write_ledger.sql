SELECT write_ledger(%(rows)s)
