SELECT claim_continuation(%(id)s)
