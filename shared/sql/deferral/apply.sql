-- Messages that were checked, in their order; for each {answer, token or take} or {refused}. Rules: apply_deferrals.
SELECT apply_deferrals(%(kinds)s, %(messages)s, p_sends => true)::text
