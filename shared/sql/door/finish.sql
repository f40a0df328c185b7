SELECT finish_continuation(%(id)s)
