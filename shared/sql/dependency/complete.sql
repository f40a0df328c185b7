-- Completions that were checked. how: 'resume' (the resume worker alone) resumes their waits by the same update,
-- 'hint' leaves that to the hint that the caller sends after its commit.
SELECT record_completions(%(messages)s, p_how => %(how)s)::text
