-- Completions that were checked; with resumes the waits are resumed by the same update.
SELECT record_completions(%(messages)s, p_resumes => %(resumes)s)::text
