-- A reply of a batch turned out to break a rule: its row in the ledger says which.
UPDATE ledger SET code = %(code)s
WHERE created_at = %(created_at)s AND interview_id = %(interview_id)s AND id = %(id)s
