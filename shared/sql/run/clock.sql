SELECT clock()
