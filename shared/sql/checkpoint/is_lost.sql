-- A loss whose answer was lost is read, never guessed.
SELECT c.id FROM checkpoint c WHERE c.id = %(id)s AND c.status = 'lost' AND c.epoch = %(epoch)s
